"""The Debian package, as far as no library has to be fetched: its files, its scripts, its pages, its completion."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import cli
from gateway.config import schema
from gateway.config.load import load
from gateway.config.options import options, tables
from images.debian import completion, manual
from images.debian.build import BuildError, Package
from images.debian.libraries import EXTRAS_LEFT_OUT, extras
from images.debian.releases import ARCHITECTURES, RELEASES
from images.debian.roff import bold
from images.debian.tree import CONFFILES, COPIED, ROOT, SCRIPTS, SOURCE, lay_out, settle

SECONDS = 1_796_000_000
EXPECTED = {
    "DEBIAN/conffiles",
    "DEBIAN/postinst",
    "DEBIAN/postrm",
    "DEBIAN/prerm",
    "etc/mosquitto/conf.d/edge-gateway.conf",
    "opt/edge-gateway/bin/gateway",
    "opt/edge-gateway/bin/python3",
    "opt/edge-gateway/pyvenv.cfg",
    "usr/bin/gateway",
    "usr/lib/systemd/system/gateway-region.service",
    "usr/lib/systemd/system/gateway.service",
    "usr/lib/sysusers.d/edge-gateway.conf",
    "usr/lib/tmpfiles.d/edge-gateway.conf",
    "usr/share/bash-completion/completions/gateway",
    "usr/share/doc/edge-gateway/changelog.gz",
    "usr/share/doc/edge-gateway/examples/gateway.example.toml",
    "usr/share/doc/edge-gateway/examples/receiver.toml",
    "usr/share/edge-gateway/gateway.toml",
    "usr/share/fish/vendor_completions.d/gateway.fish",
    "usr/share/lintian/overrides/edge-gateway",
    "usr/share/zsh/vendor-completions/_gateway",
}
COMPLETED = """
source "$1"
words=("${@:2}")
COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1)); COMP_LINE="${words[*]}"; COMP_POINT=${#COMP_LINE}
function=$(complete -p gateway | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" gateway "${words[-1]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash would offer for the last of the words."""


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    assert found, f"the tests need {name}: apt-get install {package}"
    return found


def files(tree: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return name → mode, time, content of every file and link."""
    found = {}
    for path in sorted(tree.rglob("*")):
        state = path.lstat()
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(tree))] = (state.st_mode, int(state.st_mtime), content)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("debian") / "tree"
    lay_out(folder, RELEASES["bookworm"], "1.2.3+deb12", SECONDS)
    settle(folder, SECONDS)
    return folder


def test_the_package_holds_the_files_that_it_should_and_no_others(tree) -> None:
    present = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink() or path.is_file()}
    program_files = {name for name in present if "/site-packages/" in name}
    pages = {name for name in present if name.startswith("usr/share/man/")}
    documents = {name for name in present if name.startswith("usr/share/doc/") and name.endswith(".md")}
    assert present - program_files - pages - documents == EXPECTED
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "gateway").rglob("*") if path.is_file()}
    inside = "opt/edge-gateway/lib/python3.11/site-packages"
    assert program_files == {f"{inside}/{name}" for name in sources if "__pycache__" not in name}
    assert documents == {
        f"usr/share/doc/edge-gateway/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs").rglob("*.md")
    }


def test_two_builds_of_a_tree_are_the_same_to_the_last_byte_mode_and_time(tree, tmp_path) -> None:
    again = tmp_path / "tree"
    lay_out(again, RELEASES["bookworm"], "1.2.3+deb12", SECONDS)
    settle(again, SECONDS)
    assert files(again) == files(tree)


def test_only_programs_and_scripts_may_be_run(tree) -> None:
    runs = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file() and path.stat().st_mode & 0o111}
    links = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink()}
    assert runs - links == {"opt/edge-gateway/bin/gateway", *(f"DEBIAN/{name}" for name in SCRIPTS)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_maintainer_script_has_no_fault_that_a_checker_finds(name) -> None:
    subprocess.run(["sh", "-n", str(SOURCE / name)], check=True)
    done = subprocess.run(
        [program("shellcheck", "shellcheck"), "--shell=sh", str(SOURCE / name)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_manual_pages_have_no_fault_that_a_checker_finds(tmp_path) -> None:
    for name, text in manual.pages("1.2.3", "2026-11-30").items():
        (tmp_path / name).write_text(text, "utf-8")
    done = subprocess.run(
        [program("mandoc", "mandoc"), "-T", "lint", "-W", "warning", *sorted(map(str, tmp_path.iterdir()))],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_manual_pages_tell_every_verb_and_every_option() -> None:
    pages = manual.pages("1.2.3", "2026-11-30")
    assert set(pages) == {"gateway.1", "gateway.toml.5", *(f"gateway-{verb}.1" for verb in cli.VERBS)}
    shown = pages["gateway.toml.5"]
    for path, table in tables():
        assert table.section is not None
        for option in options(table.section, path):
            assert option.section is not None or bold(option.key) in shown, option.path
    assert r"gateway spool forget\-region" in pages["gateway-spool.1"]


def test_nothing_in_a_text_is_taken_as_a_request_to_the_formatter() -> None:
    for name, page in manual.pages("1.2.3", "2026-11-30").items():
        requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
        assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".nf", ".fi", ".br"}, name


def offered(script: Path, *words: str) -> set[str]:
    done = subprocess.run(["bash", "-c", COMPLETED, "bash", str(script), *words], check=True, capture_output=True)
    assert done.stderr == b""
    return set(done.stdout.decode().split())


def test_bash_completes_verbs_actions_and_options(tree) -> None:
    script = tree / completion.TARGETS["bash"]
    assert offered(script, "gateway", "") >= set(cli.VERBS)
    assert offered(script, "gateway", "sp") == {"spool"}
    assert offered(script, "gateway", "spool", "") >= {"ls", "check", "export", "import", "forget-region"}
    assert offered(script, "gateway", "region", "audit", "--n") == {"--node"}


def test_the_sample_of_a_box_is_one_that_the_gateway_takes(tmp_path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text((SOURCE / "gateway.toml").read_text("utf-8").replace("@ID@", "box-1"), "utf-8")
    assert cli.main(["check", "-c", str(file)]) == 0
    file.write_text(re.sub(r"^# ?(?=\[\[region|[a-z_]+ = )", "", file.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    assert [region.name for region in load(file).config.region] == ["centre"], "what is commented out is right, too"


def test_the_sample_of_a_receiver_is_one_that_the_gateway_takes() -> None:
    receiver = load(SOURCE / "receiver.toml").config.receiver
    assert receiver is not None
    assert receiver.sinks
    assert isinstance(receiver, schema.Receiver)


def test_units_run_what_is_in_the_package_as_users_that_it_makes_and_removes(tree) -> None:
    made = set(re.findall(r"^u (\S+)", (tree / "usr/lib/sysusers.d/edge-gateway.conf").read_text(), re.MULTILINE))
    removed = re.search(r"^ *for user in (.*); do$", (SOURCE / "postrm").read_text(), re.MULTILINE)
    assert removed
    assert set(removed[1].split()) == made
    for unit in sorted((tree / "usr/lib/systemd/system").iterdir()):
        text = unit.read_text("utf-8")
        for path in re.findall(r"^Exec\w+=[-+!@]*/(\S+)", text, re.MULTILINE):
            assert (tree / path).exists() or path == "bin/kill", f"{unit.name}: {path}"
        assert set(re.findall(r"^User=(.*)$", text, re.MULTILINE)) <= made
        state = re.findall(r"^StateDirectory=(.*)$", text, re.MULTILINE)
        assert all(f"/var/lib/{name}" in (SOURCE / "postrm").read_text() for name in state)


def test_every_unit_of_the_project_is_packaged() -> None:
    assert {path for path in (ROOT / "systemd").iterdir() if path.suffix != ".md"} <= set(COPIED)


def test_conffiles_are_files_of_the_package_and_the_configuration_of_the_box_is_none(tree) -> None:
    assert all((tree / name.removeprefix("/")).is_file() for name in CONFFILES)
    assert not (tree / "etc/edge-gateway").exists()


def test_the_changes_are_those_of_the_project(tree) -> None:
    packed = (tree / "usr/share/doc/edge-gateway/changelog.gz").read_bytes()
    assert gzip.decompress(packed).decode() == (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_package_of_a_later_release_is_the_newer_one() -> None:
    names = [Package(release, ARCHITECTURES["amd64"], "1.2.3").name for release in RELEASES.values()]
    assert names == ["edge-gateway_1.2.3+deb12_amd64.deb", "edge-gateway_1.2.3+deb13_amd64.deb"]


def test_a_version_that_dpkg_would_not_take_is_refused() -> None:
    with pytest.raises(BuildError, match="no version for Debian"):
        Package(RELEASES["bookworm"], ARCHITECTURES["amd64"], "v1 beta")


def test_every_extra_that_a_box_may_want_is_in_the_package() -> None:
    assert not set(extras()) & EXTRAS_LEFT_OUT
    assert {"amqp", "kafka", "nats", "webhook"} <= set(extras())
