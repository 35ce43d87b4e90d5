"""Timelines of memory: what state, what is done, and what is never done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.memory import CYCLE_S, OPEN_S, RELEASE_S, Memory, State
from gateway.relief import limit_bytes, within

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = 100 * 2**20


def states(shares: list[float]) -> list[str]:
    """Return the state after each share of the budget, one second apart."""
    memory, found = Memory(BUDGET), []
    for second, share in enumerate(shares):
        memory.look(second, round(share * BUDGET))
        found.append(memory.state.value)
    return found


def test_states_are_entered_high_and_left_low() -> None:
    shares = [0.5, 0.79, 0.81, 0.76, 0.74, 0.91, 0.86, 0.84, 0.76, 0.74]
    assert states(shares) == ["ok", "ok", "tight", "tight", "ok", "short", "short", "tight", "tight", "ok"]


def test_over_the_budget_is_short() -> None:
    assert states([1.5, 3.0]) == ["short", "short"]


def test_without_a_budget_nothing_is_ever_short() -> None:
    memory = Memory(0)
    assert memory.look(0.0, 2**40) == ""
    assert (memory.state, memory.is_holding(1.0), memory.is_release_due(1.0)) == (State.OK, False, False)
    assert memory.status()["rss_bytes"] == 2**40


def test_a_state_is_told_once_and_counted_when_it_gets_worse() -> None:
    memory = Memory(BUDGET)
    said = [memory.look(second, round(share * BUDGET)) for second, share in enumerate((0.85, 0.86, 0.95, 0.8, 0.1))]
    assert [bool(one) for one in said] == [True, False, True, True, True]
    assert said[2].startswith("memory is short, 95 of 100 MiB are used: QoS 0 is shed")
    assert said[4] == "memory is ok, 10 of 100 MiB are used, it was tight"
    assert memory.entered == {"tight": 1, "short": 1}


def test_a_budget_that_is_too_small_for_ever_slows_down_and_does_not_stop() -> None:
    memory = Memory(BUDGET)
    memory.look(100.0, BUDGET)
    held = [memory.is_holding(100.0 + tenth / 10) for tenth in range(1000)]
    assert held.count(False) == pytest.approx(1000 * OPEN_S / CYCLE_S, abs=10)
    assert held[0]


def test_memory_is_given_back_at_once_and_then_once_in_a_while() -> None:
    memory = Memory(BUDGET)
    assert not memory.is_release_due(0.0)
    memory.look(1.0, round(0.85 * BUDGET))
    due = [second for second in range(1, 100) if memory.is_release_due(float(second))]
    assert due == list(range(1, 100, round(RELEASE_S)))


def group(root: Path, path: str, name: str, text: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / name).write_text(f"{text}\n", "ascii")


def limit(root: Path, lines: str) -> int:
    own = root / "self"
    own.write_text(lines, "ascii")
    return limit_bytes(root, own)


def test_the_lowest_limit_on_the_way_up_counts_in_version_2(tmp_path: Path) -> None:
    group(tmp_path, "system.slice", "memory.max", "300000000")
    group(tmp_path, "system.slice/gateway.service", "memory.max", "max")
    assert limit(tmp_path, "0::/system.slice/gateway.service\n") == 300_000_000
    group(tmp_path, "system.slice/gateway.service", "memory.max", "200000000")
    assert limit(tmp_path, "0::/system.slice/gateway.service\n") == 200_000_000


def test_no_limit_of_version_1_is_a_large_number(tmp_path: Path) -> None:
    lines = "5:cpu,cpuacct:/\n4:memory:/box\n0::/\n"
    group(tmp_path, "memory/box", "memory.limit_in_bytes", "9223372036854771712")
    assert limit(tmp_path, lines) == 0
    group(tmp_path, "memory/box", "memory.limit_in_bytes", "134217728")
    assert limit(tmp_path, lines) == 134_217_728


def test_where_nothing_can_be_read_there_is_no_limit(tmp_path: Path) -> None:
    assert limit_bytes(tmp_path, tmp_path / "missing") == 0
    assert limit(tmp_path, "4:memory:/gone\n0::/gone\n") == 0


def test_a_budget_bounds_what_may_wait_for_the_journal() -> None:
    assert within(32 << 20, 0) == 32 << 20
    assert within(32 << 20, 512 << 20) == 32 << 20
    assert within(32 << 20, 64 << 20) == 8 << 20
