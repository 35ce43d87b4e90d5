"""The power is cut at every operation on the disk: what was acknowledged reaches the region, once, whatever survives.

The disk in memory keeps, loses or tears what was not synced. GATEWAY_LONG=1 cuts at each operation, else at one in a
few.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from gateway.quarantine import Quarantine
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.wholenode import Broker, Node, Receiver, S

MESSAGES = 120


def started(disk: FaultDisk, quarantine: Quarantine) -> Node:
    """Start the node: a power cut damages nothing, so recovery has nothing to tell."""
    node = Node(disk, quarantine)
    recovered = node.recovered
    assert not recovered.journal.damaged, recovered.journal.notes
    assert not recovered.epoch_began, recovered.notes
    assert not recovered.refused
    assert "conflict" not in recovered.batches
    return node


def work(disk: FaultDisk, broker: Broker, receiver: Receiver, quarantine: Quarantine) -> None:
    """Start, take everything that the broker has, with checkpoints and deliveries in between, and come to an end."""
    node = started(disk, quarantine)
    node.connect(broker)
    turn = 0
    while broker.acknowledged < MESSAGES:
        turn += 1
        node.take(broker.group(node.at + S), broker)
        if turn % 2 == 0:
            node.mirror(receiver)
        if turn % 4 == 3:
            node.checkpoint()
    node.come_to_rest()
    node.mirror(receiver)
    assert not receiver.gaps


def check(receiver: Receiver) -> None:
    """Every message is there once: raw ones by number, windowed ones in counts and sums."""
    raw = Counter(int(value) for topic, _, value in receiver.readings if topic.startswith("raw/"))
    assert raw == Counter(range(0, MESSAGES, 2))
    totals = Counter[str]()
    for topic, field, value in receiver.readings:
        if topic.startswith("window/"):
            totals[field] += int(value)
    assert totals == {"n.count": MESSAGES // 2, "n.sum": sum(range(1, MESSAGES, 2))}


def run(tmp_path: Path, cuts: list[int], seed: int) -> FaultDisk:
    """Run to the end, cutting the power after so many operations of each start."""
    chance = random.Random(seed)
    disk, broker, receiver = FaultDisk(), Broker(MESSAGES), Receiver()
    quarantine = Quarantine(tmp_path / "quarantine.sqlite")
    try:
        for cut in cuts:
            disk.cut_power_in(cut)
            try:
                work(disk, broker, receiver, quarantine)
            except PowerCutError:
                disk.power_up(chance)
        disk.heal()
        work(disk, broker, receiver, quarantine)
    finally:
        quarantine.close()
    check(receiver)
    return disk


def changes(disk: FaultDisk) -> int:
    """Return how many operations of a run change something: that is where the power can be cut."""
    return sum(number for verb, number in disk.counts().items() if verb not in {"open", "close", "read", "load"})


def test_without_a_fault_everything_arrives_once(tmp_path: Path) -> None:
    assert changes(run(tmp_path, [], 0)) > 100


def test_the_power_may_be_cut_at_any_operation(tmp_path: Path) -> None:
    total = changes(run(tmp_path, [], 0))
    step = 1 if os.environ.get("GATEWAY_LONG") else 5
    for cut in range(0, total, step):
        for seed in range(3):
            run(tmp_path, [cut], 1000 * cut + seed)


@pytest.mark.parametrize("seed", range(100 if os.environ.get("GATEWAY_LONG") else 15))
def test_the_power_may_be_cut_again_and_again_also_while_recovering(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run(tmp_path, [chance.randrange(chance.choice((12, 60, 200))) for _ in range(6)], seed)
