"""The states of the disk: how each is entered and left, and that only a change is told."""

from __future__ import annotations

import pytest

from gateway.errors import StoreError
from gateway.medium import Medium, State


def refused(errno: str) -> StoreError:
    return StoreError(f"cannot write: {errno}", errno=errno)


@pytest.mark.parametrize(
    ("errno", "state"),
    [
        ("ENOSPC", State.FULL),
        ("EDQUOT", State.FULL),
        ("EROFS", State.READ_ONLY),
        ("EIO", State.FAILED),
        ("ENODEV", State.FAILED),
    ],
)
def test_what_the_disk_answers_decides_the_state_until_the_part_works_again(errno: str, state: State) -> None:
    medium = Medium(1000)
    sentence = medium.failed("journal", refused(errno))
    assert medium.state is state
    assert f"the disk is {state.value} (cannot write: {errno})" in sentence
    assert not medium.takes_writes
    assert medium.worked("spool") == ""
    assert medium.state is state
    assert medium.worked("journal") == f"the disk is ok again, it was {state.value}"
    assert medium.state is State.OK
    assert medium.changes[state.value] == 1


def test_the_same_fault_again_is_not_told_again() -> None:
    medium = Medium(1000)
    assert medium.failed("journal", refused("EIO"))
    assert medium.failed("journal", refused("EIO")) == ""
    assert medium.failed("spool", refused("EIO")) == ""
    assert medium.status()["faults"] == {"journal": "cannot write: EIO", "spool": "cannot write: EIO"}


def test_the_worst_fault_of_all_parts_is_the_state() -> None:
    medium = Medium(1000)
    medium.failed("spool", refused("ENOSPC"))
    assert medium.failed("journal", refused("EIO")).startswith("the disk is failed")
    assert medium.worked("journal").startswith("the disk is full (cannot write: ENOSPC)")
    assert medium.worked("spool")
    assert medium.state is State.OK


def test_low_space_is_left_only_with_some_to_spare() -> None:
    medium = Medium(1000)
    assert medium.looked(1000) == ""
    assert "999 bytes are free" in medium.looked(999)
    assert medium.is_low
    assert medium.takes_writes
    assert medium.looked(1249) == ""
    assert medium.is_low
    assert medium.looked(1250) == "the disk is ok again, it was low_space"
    assert not medium.is_low
