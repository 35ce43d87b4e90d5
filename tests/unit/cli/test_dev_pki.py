"""`gateway dev-pki`: what it writes it names, and a wrong name or number is wrong use, never a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway import cli


def test_the_files_are_named_and_the_certificate_names_the_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pki"
    assert cli.main(["dev-pki", str(folder), "--node", "plant-7", "--days", "2"]) == cli.EX_OK
    said = capsys.readouterr().out
    assert all(str(path) in said for path in folder.iterdir())
    found = x509.load_pem_x509_certificate((folder / "node.pem").read_bytes())
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "plant-7"
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days == 2


def test_a_folder_that_holds_credentials_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dev-pki", str(tmp_path)]) == cli.EX_OK
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.main(["dev-pki", str(tmp_path)]) == cli.EX_IOERR
    assert "nothing is overwritten" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "words",
    [
        ("--node", ""),
        ("--node", "x" * 65),
        ("--node", "a/b"),
        ("--node", "#"),
        ("--node", "a\nb"),
        ("--days", "0"),
        ("--days=-5",),
        ("--days", "36501"),
        ("--days", "9" * 5000),
        ("--days", "0000000000011"),
        ("--days", "soon"),
    ],
)
def test_a_wrong_name_or_number_is_wrong_use_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["dev-pki", str(tmp_path / "pki"), *words])
    assert ended.value.code == cli.EX_USAGE
    assert "usage:" in capsys.readouterr().err
    assert not (tmp_path / "pki").exists()
