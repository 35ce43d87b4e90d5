"""Links batches to the spans of the messages in them, without a cost for messages that have none. Pure.

A message with a context is taken in by itself, and what its route and lane did meanwhile shows where it went: into a
batch that was sealed with it, or among the open rows of the lane. What a window or a swinging door holds back is linked
to the next batch of the lane. Slices are cut otherwise by this, which changes nothing of what they give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.model import Output
    from gateway.process.plan import CompiledRoute

LINKS_MAX: Final = 16
"""Links of one batch; more messages with a context are left out."""


def take_in_linked(
    contexts: Mapping[int, str],
    stretch: tuple[int, int],
    take_in: Callable[[int, int], None],
    routes: Sequence[CompiledRoute | None],
    output: Output,
) -> None:
    """Take in the messages of a stretch; `take_in` takes a part of it, `routes` are those of its messages."""
    start, stop = first, _ = stretch
    for index in sorted(index for index in contexts if start <= index < stop):
        take_in(start, index)
        start = index + 1
        route = routes[index - first]
        sealed, taken = len(output.batches), 0 if route is None else route.messages
        take_in(index, start)
        if route is None or route.messages == taken:
            continue  # it was refused, or sent again
        batches = [batch.links for batch in output.batches[sealed:] if batch.id.lane == route.lane]
        links = batches[-1] if batches else route.builder.links
        if len(links) < LINKS_MAX:
            links.append(contexts[index])
    take_in(start, stop)
