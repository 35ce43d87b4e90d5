"""What the disk refuses is said with the file's path, also where only a descriptor is known."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.disk import Disk
from gateway.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_write_that_fails_names_the_file_and_not_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.touch()
    handle = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(StoreError, match=rf"^cannot write {path}: ") as caught:
            Disk().write(handle, b"x", 0)
    finally:
        os.close(handle)
    assert caught.value.facts == {"path": str(path), "errno": "EBADF"}


def test_a_descriptor_that_is_closed_is_said_to_be() -> None:
    with pytest.raises(StoreError, match=r"^cannot sync a closed file"):
        Disk().sync(987_654)
