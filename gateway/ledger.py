"""The fates: where every message and every reading ends, counted once.

A ledger is a flat map of cumulative counts. It is part of the pipeline's state and of each batch header, so a
receiver can hold what it got against what the node says it sent. Two equations hold at every moment, and
`residuals` computes what is left of them; anything but zero is a defect:

    messages in  = decoded + quarantined.* + shed.* + unrouted + duplicate
    readings in  = decoded readings + emitted by windows + added as tags
                 = filtered + duplicate + sampled_out + under_pressure + aggregated + late + sealed
                   + open (in builders, not yet sealed, or held back by swinging doors)

`shed.qos0_overflow` is counted before the journal (QoS 0 past its limit), everything else by the pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.model import Ledger

RECEIVED: Final = "message.received"
DECODED: Final = "message.decoded"
DUPLICATE_MESSAGE: Final = "message.duplicate"
UNROUTED: Final = "message.unrouted"
QUARANTINED: Final = "message.quarantined."
SHED: Final = "message.shed."
SHED_RATE: Final = SHED + "rate_limit"

READ: Final = "reading.decoded"
EMITTED: Final = "reading.emitted"
TAGGED: Final = "reading.tagged"
FILTERED: Final = "reading.filtered"
DUPLICATE_READING: Final = "reading.duplicate"
UNDER_PRESSURE: Final = "reading.under_pressure"
SAMPLED_OUT: Final = "reading.sampled_out"
AGGREGATED: Final = "reading.aggregated"
LATE: Final = "reading.late"
SEALED: Final = "reading.sealed"
THINNED: Final = "reading.thinned"
"""Readings that coarser ones took the place of; counted by the spool, in the headers of the coarser batches."""


def count(ledger: Ledger, fate: str, number: int = 1) -> None:
    """Add `number` to the count of `fate`."""
    ledger[fate] = ledger.get(fate, 0) + number


def total(ledger: Ledger, prefix: str) -> int:
    """Sum the counts of every fate that starts with `prefix`."""
    return sum(number for fate, number in ledger.items() if fate.startswith(prefix))


def residuals(ledger: Ledger, open_readings: int) -> tuple[int, int]:
    """Return what is unaccounted for: (messages, readings). Both are 0 unless the gateway has a defect.

    `open_readings` is the number of readings in builders, decided but not yet sealed, and of those held back.
    """
    fates = (DECODED, DUPLICATE_MESSAGE, UNROUTED)
    messages = ledger.get(RECEIVED, 0) - sum(ledger.get(fate, 0) for fate in fates)
    messages -= total(ledger, QUARANTINED) + total(ledger, SHED)
    ends = (FILTERED, DUPLICATE_READING, SAMPLED_OUT, UNDER_PRESSURE, AGGREGATED, LATE, SEALED)
    readings = sum(ledger.get(source, 0) for source in (READ, EMITTED, TAGGED))
    return messages, readings - sum(ledger.get(fate, 0) for fate in ends) - open_readings
