"""The two equations of the ledger."""

from __future__ import annotations

from gateway import ledger


def test_every_fate_of_a_message_balances_what_was_received() -> None:
    books: dict[str, int] = {}
    fates = (ledger.DECODED, ledger.DUPLICATE_MESSAGE, ledger.UNROUTED)
    fates += (ledger.QUARANTINED + "not_json", ledger.QUARANTINED + "nan", ledger.SHED + "qos0_overflow")
    for number, fate in enumerate(fates, 1):
        ledger.count(books, fate, number)
    ledger.count(books, ledger.RECEIVED, 1 + 2 + 3 + 4 + 5 + 6)
    assert ledger.residuals(books, 0) == (0, 0)
    ledger.count(books, ledger.RECEIVED)
    assert ledger.residuals(books, 0) == (1, 0)


def test_every_fate_of_a_reading_balances_what_was_decoded_and_emitted() -> None:
    books = {ledger.READ: 20, ledger.EMITTED: 7}
    for fate in (ledger.FILTERED, ledger.SAMPLED_OUT, ledger.AGGREGATED, ledger.LATE, ledger.SEALED):
        ledger.count(books, fate, 5)
    assert ledger.residuals(books, 2) == (0, 0)
    assert ledger.residuals(books, 0) == (0, 2)


def test_a_total_sums_one_family_only() -> None:
    books = {"message.quarantined.a": 2, "message.quarantined.b": 3, "message.shed.a": 7}
    assert ledger.total(books, ledger.QUARANTINED) == 5
