"""What the tests of damage and of chaos begin with."""

from __future__ import annotations

import os
import random
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


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("GATEWAY_SEED") or random.SystemRandom().randrange(2**32))
    print(f"GATEWAY_SEED={seed}")  # noqa: T201  # what repeats a failure
    return random.Random(seed)
