"""The samplers of one route: bounded in number, with what swinging doors hold back over all of its topics.

`open_readings` counts what is held back: readings that were decoded and have no fate yet. The one that is held longest
is due at `deadline`; `release` then lets it go on, and with None in place of a time everything goes on, one call after
the other, which is what a route does that ends.

The state keeps the order in which the readings were held, because that is the order in which they are released.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.errors import DecodeError
from gateway.process.sample import Sampler
from gateway.process.swinging_door import HeldBack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.process.sample import Steps
    from gateway.process.swinging_door import Released

TOPICS_MAX: Final = 100_000
"""Topics of one route whose sampling is remembered; a message of one more goes to quarantine."""

_PLACE: Final = 2
"""Length of a record that gives a held reading its place: topic, field. A record of a topic is longer."""


class Samplers:
    """What a route remembers of its topics' sampling."""

    __slots__ = ("_held", "_route", "_samplers", "_topics_max", "steps")

    def __init__(self, route: str, steps: Steps, topics_max: int = TOPICS_MAX) -> None:
        self._route = route
        self.steps = steps
        self._topics_max = topics_max
        self._samplers: dict[str, Sampler] = {}
        self._held = HeldBack(steps.idle_ns)

    @property
    def open_readings(self) -> int:
        """Readings that are held back."""
        return len(self._held)

    @property
    def deadline(self) -> int | None:
        """The `at` when the reading that is held longest must go on; None when none is held."""
        return self._held.deadline

    def sampler(self, topic: str) -> Sampler:
        """Return the sampler of a topic. Raises `DecodeError` when there is no room for one more."""
        sampler = self._samplers.get(topic)
        if sampler is None:
            if len(self._samplers) >= self._topics_max:
                fault = f"the route {self._route} remembers {self._topics_max} topics already"
                raise DecodeError("too_many_topics", fault)
            sampler = self._samplers[topic] = Sampler(self.steps, topic, self._held)
        return sampler

    def release(self, at: int | None) -> Released | None:
        """Return what was held back longest, if it is due at `at` (None: in any case).

        None when nothing is due: call until then.
        """
        return self._held.release(at)

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield what is remembered of each topic, its name first; then the place of each reading that is held back."""
        for topic, sampler in self._samplers.items():
            yield topic, *sampler.state()
        yield from self._held.order()

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of the same route."""
        for topic, *state in records:
            if len(state) == _PLACE - 1:
                self._held.note(self._samplers[topic].line(state[0]))
            else:
                self.sampler(topic).restore(state)
