"""Options of the audit log."""

from __future__ import annotations

from typing import Annotated, Final

from gateway.config.schema.route import Duplicates, Route, Time
from gateway.config.section import KIB, MIB, SIZE, Section, option
from gateway.config.section import S as SECOND

AUDIT_TOPIC: Final = "$gateway/audit"
"""Under which the entries are readings; no broker can bring a message that is taken for one."""
AUDIT_ROUTE: Final = "gateway.audit"


class Audit(Section, frozen=True, kw_only=True):
    """Who changed what, refused certificates and tokens: kept in the state folder, each entry proved by the next."""

    lane: Annotated[
        str, option("Lane of its own through which the entries go to the regions; empty: they stay on the box.")
    ] = ""
    bytes_max: Annotated[
        int, option("Disk that the log may take; its oldest entries go.", unit=SIZE, low=64 * KIB, high=64 * MIB)
    ] = 2 * MIB

    @property
    def routes(self) -> tuple[Route, ...]:
        """The route that the entries take: no topic filter leads to it, and an entry said twice is taken once."""
        if not self.lane:
            return ()
        once = Duplicates(key="number", scope="route", keys_max=1000, span_ns=31 * 86400 * SECOND)
        time = Time(field="time_ns", unit="ns", ahead_ns=3650 * 86400 * SECOND)
        return (Route(name=AUDIT_ROUTE, topics=(), lane=self.lane, time=time, duplicates=once),)
