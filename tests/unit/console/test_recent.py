"""Recent readings: what is kept of batches, in which bounds, and what is found."""

from __future__ import annotations

import tracemalloc

from gateway.console import recent
from gateway.console.recent import Recent
from gateway.model import BatchId, OpenBatch

S = 1_000_000_000


def batch(rows: dict[str, list[tuple[int, dict]]]) -> OpenBatch:
    columns = {topic: ([time for time, _ in some], [row for _, row in some]) for topic, some in rows.items()}
    return OpenBatch(BatchId("n", "a", 1, 1), columns, 0, 0, {}, 0, 0)


def values(store: Recent, words: str = "") -> list:
    return [(one["topic"], one["field"], one["value"], one["values"]) for one in store.find(words, 100)[0]]


def test_the_newest_row_of_each_topic_is_kept_while_nobody_looks() -> None:
    store = Recent()
    store.note(batch({"a": [(S, {"x": 1}), (2 * S, {"x": 2})], "b": [(S, {"t": "on"})]}))
    assert values(store) == [("a", "x", 2, [2.0]), ("b", "t", "on", [])]


def test_more_rows_of_each_topic_are_kept_after_somebody_asked() -> None:
    store = Recent()
    store.find("", 1)
    store.note(batch({"a": [(number * S, {"x": number}) for number in range(1, 20)]}))
    assert values(store) == [("a", "x", 19, [float(number) for number in range(12, 20)])]


def test_topics_that_do_not_fit_have_their_turn_in_the_next_batches() -> None:
    store = Recent()
    topics = 3 * recent.UNWATCHED_ROWS
    for turn in range(3):
        store.note(batch({f"t{number:03}": [((turn + 1) * S, {"x": turn})] for number in range(topics)}))
    assert store.find("", 1)[1] == topics


def test_points_are_spaced_and_bounded_and_the_newest_value_is_exact() -> None:
    store = Recent()
    store.find("", 1)
    for number in range(recent.POINTS_MAX + 50):
        store.note(batch({"a": [(number * S // 2, {"x": number}), (number * S // 2 + 1, {"x": 2**60 + number})]}))
    (one,) = store.find("", 1)[0]
    assert len(one["values"]) == recent.POINTS_MAX
    assert one["value"] == 2**60 + recent.POINTS_MAX + 49
    assert one["times_ms"] == sorted(one["times_ms"])


def test_late_readings_are_passed_over_and_a_clock_that_was_set_begins_anew() -> None:
    store = Recent()
    for time_ns, value in ((500 * S, 1), (490 * S, 2), (501 * S, 3), (100 * S, 4), (101 * S, 5)):
        store.note(batch({"a": [(time_ns, {"x": value})]}))
    assert values(store) == [("a", "x", 5, [4.0, 5.0])]


def test_words_are_found_in_topic_and_field_in_any_case() -> None:
    store = Recent()
    store.note(batch({"plant/Hall-1": [(S, {"temperature": 1, "humidity": 2})], "plant/hall-2": [(S, {"ok": True})]}))
    assert [one[:2] for one in values(store, "HALL-1 temp")] == [("plant/Hall-1", "temperature")]
    assert store.find("plant", 2)[1] == 3


def flood(store: Recent, first: int) -> None:
    """Let as many series come as there are places, and one in between that goes on."""
    for start in range(first, first + recent.SERIES_MAX, 20):
        rows = {f"t{number}": [(S, {"x": 1.0})] for number in range(start, start + 20)}
        store.note(batch({"steady": [(start * S + S, {"x": 1.0})], **rows}))


def test_a_flood_of_series_drives_out_none_that_goes_on_and_those_that_are_silent() -> None:
    now = [0.0]
    store = Recent(lambda: now[0])
    flood(store, 0)
    flood(store, recent.SERIES_MAX)
    assert store.find("", 1)[1] == recent.SERIES_MAX
    assert store.find("t5", 1)[1] > 0
    assert store.left_out > recent.SERIES_MAX - 100
    now[0] = recent.KEPT_S + recent.WATCHED_S
    flood(store, 2 * recent.SERIES_MAX)
    assert store.find("t5", 1)[1] == 0
    assert store.find("steady", 1)[1] == 1


def test_what_is_looked_for_finds_a_place_in_a_full_store() -> None:
    store = Recent(lambda: 0.0)
    flood(store, 0)
    store.find("rare", 1)
    store.note(batch({"rare/one": [(S, {"x": 1})], "other": [(S, {"x": 1})]}))
    assert (store.find("rare", 1)[1], store.find("other", 1)[1]) == (1, 0)


def test_a_full_store_takes_less_than_five_megabytes() -> None:
    tracemalloc.start()
    store = Recent()
    store.find("", 1)
    for number in range(0, recent.POINTS_MAX + 8, 8):
        some = [((number + step) * S, {"x": number + step + 0.5}) for step in range(8)]
        for start in range(0, recent.SERIES_MAX, 50):
            names = (f"{n:0{recent.NAME_CHARACTERS_MAX - 1}}" for n in range(start, start + 50))
            store.note(batch(dict.fromkeys(names, some)))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert store.find("", 1)[1] == recent.SERIES_MAX
    assert {len(one["values"]) for one in store.find("", 2000)[0]} == {recent.POINTS_MAX}
    assert used < 5_000_000


def test_names_and_texts_that_are_too_long_are_left_out_or_cut() -> None:
    store = Recent()
    store.note(batch({"a" * 400: [(S, {"x": 1})], "b": [(S, {"t": "y" * 10_000, "raw": b"\x00" * 10_000})]}))
    found = {one[1]: one[2] for one in values(store)}
    assert found == {"raw": "00" * (recent.TEXT_CHARACTERS_MAX // 2), "t": "y" * recent.TEXT_CHARACTERS_MAX}
