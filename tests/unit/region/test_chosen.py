"""What a receiver is configured for and is not installed is one sentence that says what to install."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.config import schema
from gateway.disk import Disk
from gateway.errors import ConfigError
from gateway.region import chosen
from gateway.region.watermarks import Watermarks

FILES = {"tls_ca": "", "tls_certificate": "", "tls_key": ""}


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let a package, and what of ours needs it, be imported anew and in vain."""
    for name in [name for name in sys.modules if name.split(".")[0] == package or name.startswith("gateway.region.")]:
        if name != "gateway.region.chosen":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_the_source_kafka_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "confluent_kafka")
    options = schema.Receiver(source="kafka", **FILES)
    with pytest.raises(ConfigError, match=r"source kafka needs .* confluent_kafka .*edge-gateway\[kafka\]") as told:
        chosen.source(options, lambda *_: None, random.Random(1), lambda _: None)
    assert "edge-gateway[kafka]" in str(told.value)


def test_the_sink_postgresql_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "psycopg")
    options = schema.Receiver(sinks=("postgresql",), **FILES)
    for call in (chosen.store, chosen.report, chosen.editing):
        with pytest.raises(ConfigError, match=r"edge-gateway\[postgresql\]"):
            call(options)


def test_the_sink_parquet_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = schema.Receiver(sinks=("parquet",), state_folder=str(tmp_path), **FILES)
    store = Watermarks(tmp_path)
    without(monkeypatch, "pyarrow")
    with ThreadPoolExecutor(1) as worker, pytest.raises(ConfigError, match=r"edge-gateway\[parquet\]"):
        chosen.behind(options, store, worker, Disk(), Clock(), random.Random(1))
    store.close()


@pytest.mark.parametrize("sinks", [("sqlite", "ndjson"), ("parquet",)])
def test_what_is_configured_is_made(tmp_path: Path, sinks: tuple[str, ...]) -> None:
    options = schema.Receiver(sinks=sinks, state_folder=str(tmp_path), **FILES)
    store = chosen.store(options)
    with ThreadPoolExecutor(1) as worker:
        behind = chosen.behind(options, store, worker, Disk(), Clock(), random.Random(1))
        assert len(chosen.sinks(options, Disk(), Clock())) + len(behind) == len(sinks)
        for one in behind:
            one.close()
    store.close()
