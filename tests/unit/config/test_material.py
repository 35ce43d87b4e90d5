"""Files that routes name are read at the start; what is wrong with each is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import cli
from gateway.config import schema
from gateway.config.material import read_material
from gateway.errors import ConfigError

FILE = """
[node]
id = "node-1"
[[spool.lanes]]
name = "t"
[[route]]
name = "a"
topics = ["a"]
lane = "t"
key_file = "my.key"
"""


def routes(*paths: Path) -> list[schema.Route]:
    return [schema.Route(name=str(path), topics=("a",), lane="t", key_file=str(path)) for path in paths]


def test_a_key_is_read_once_for_all_routes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0f" * 32 + "\n")
    assert read_material(routes(path, path)).keys == {str(path): b"\x0f" * 32}
    assert read_material([schema.Route(name="a", topics=("a",), lane="t")]).keys == {}


@pytest.mark.parametrize("text", ["", "0f" * 31, "0g" * 32, "0f" * 33, "\xe4" * 64])
def test_what_is_no_key_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match="must hold 64 hex digits"):
        read_material(routes(path))


def test_all_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(5000))
    with pytest.raises(ConfigError) as caught:
        read_material(routes(large, tmp_path / "missing"))
    assert [fault.rpartition("/")[2] for fault in caught.value.faults] == [
        "large: is larger than 4,096 bytes",
        "missing: No such file or directory",
    ]


def test_the_check_of_a_configuration_reads_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(FILE)
    assert cli.main(["check", "-c", str(path)]) == 78
    assert f"{tmp_path}/my.key: No such file or directory" in capsys.readouterr().err
    (tmp_path / "my.key").write_text("0f" * 32)
    assert cli.main(["check", "-c", str(path)]) == 0
