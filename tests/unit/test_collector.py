"""Garbage in cycles is found, and what is alive in great numbers is not walked again and again."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from gateway import collector
from gateway.collector import COLLECT_ALL_S, COLLECT_S, OBJECTS_MAX, Collector, standing_still

if TYPE_CHECKING:
    from collections.abc import Iterator


class Knot:
    """Refers to itself, so that counting references never frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _own_collector() -> Iterator[None]:
    """Begin with nothing to look at, and give back what the test changed."""
    threshold = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(0)
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def knot() -> weakref.ref[Knot]:
    """Return a reference to a knot that nobody else knows."""
    return weakref.ref(Knot())


def grown_old() -> None:
    """Let everything that is alive come to the oldest generation."""
    gc.collect(1)


def test_garbage_is_collected_once_a_minute() -> None:
    one, lost = Collector(0.0), None
    grown_old()
    lost = knot()
    one.look(COLLECT_S - 1)
    assert lost() is not None
    one.look(COLLECT_S)
    assert lost() is None


def test_a_large_state_is_set_aside_and_what_comes_after_it_is_collected() -> None:
    one, before = Collector(0.0), gc.get_freeze_count()
    state = [[number] for number in range(OBJECTS_MAX + 1)]
    grown_old()
    one.look(1.0)
    assert gc.get_freeze_count() - before > OBJECTS_MAX
    assert not gc.get_objects(generation=2)
    lost = knot()
    one.look(COLLECT_S)
    assert lost() is None
    assert len(state) > OBJECTS_MAX


def test_what_became_garbage_after_it_was_set_aside_is_found_in_the_end() -> None:
    one = Collector(0.0)
    held = Knot()
    lost = weakref.ref(held)
    gc.freeze()
    del held
    one.look(COLLECT_S)
    assert lost() is not None
    one.look(COLLECT_ALL_S)
    assert lost() is None
    assert gc.get_freeze_count()


def test_a_start_is_not_interrupted_and_no_full_collection_comes_by_itself_after_it() -> None:
    seen: list[bool] = []
    with standing_still():
        seen.append(gc.isenabled())
        lost = knot()
    assert seen == [False]
    assert gc.isenabled()
    assert gc.get_threshold() == (700, 10, collector._NEVER)
    assert lost() is not None, "set aside with all else"
    gc.unfreeze()


def test_the_collector_is_on_again_when_a_start_fails() -> None:
    with pytest.raises(ValueError, match="start"), standing_still():
        raise ValueError("start")
    assert gc.isenabled()
