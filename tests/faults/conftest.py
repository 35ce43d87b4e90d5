"""What the tests of damage begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.quarantine import Quarantine
from tests.support.damage import Crashed, crash


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    kept = Quarantine(tmp_path / "quarantine.sqlite")
    yield kept
    kept.close()


@pytest.fixture
def crashed(quarantine: Quarantine) -> Crashed:
    return crash(quarantine)
