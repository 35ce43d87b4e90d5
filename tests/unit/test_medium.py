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
    medium.worked("spool")
    medium.looked(10**6)
    medium.looked(10**6)
    assert medium.state is state
    medium.worked("journal")
    assert medium.looked(10**6) == ""
    assert medium.looked(10**6) == f"the disk is ok again, it was {state.value}"
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
    medium.worked("journal")
    medium.looked(10**6)
    assert medium.looked(10**6).startswith("the disk is full (cannot write: ENOSPC)")
    medium.worked("spool")
    medium.looked(10**6)
    assert medium.looked(10**6) == "the disk is ok again, it was full"


def test_a_disk_that_takes_a_little_now_and_then_is_not_well() -> None:
    medium = Medium(1000)
    medium.failed("journal", refused("ENOSPC"))
    for _ in range(5):
        medium.worked("journal")
        assert medium.looked(10**6) == ""
        assert medium.failed("journal", refused("ENOSPC")) == ""
    assert medium.changes["full"] == 1


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
