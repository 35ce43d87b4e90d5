"""The documents keep their word: links lead somewhere, lines fit, the example bytes are what the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import frame
from gateway.config.load import parse
from gateway.journal import format as layout
from gateway.model import QOS1, MessageGroup, Tick

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINE_MAX = 120


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_link_between_pages_leads_to_a_file(page) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    targets = [target for target in LINK.findall(text) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_lines_of_pages_fit_a_screen(page) -> None:
    lines = enumerate(page.read_text("utf-8").splitlines(), 1)
    wide = [number for number, line in lines if len(line) > LINE_MAX and not line.startswith("|")]
    assert not wide, "only rows of a table cannot be broken"


def test_the_example_of_the_journal_page_reads_as_the_page_says() -> None:
    text = (ROOT / "docs" / "formats" / "journal.md").read_text("utf-8")
    dump = re.search(r"```hex\n(.*?)```", text, re.DOTALL)
    assert dump is not None
    data = bytes.fromhex(" ".join(line[4:] for line in dump[1].splitlines()))
    opened = layout.parse_file_header(data)
    assert opened == (bytes(range(16)), 0)
    entries = []
    offset = layout.FILE_HEADER_BYTES
    while offset < len(data):
        whole = frame.whole_at(opened[0], data, offset)
        assert whole is not None
        entries += layout.JournalCodec().entries_of(whole[1]) or []
        offset += whole[0].frame_bytes
    assert entries == [
        MessageGroup(
            1763888400000000000, 5000000000, 2, 1, False, ["a/t"] * 2, [b'{"v":21.5}', b"7"], [1, 0], [QOS1, 0], {}
        ),
        Tick(1763888401000000000, 6000000000, 2),
    ]


def test_the_configuration_in_the_readme_is_sound_and_the_readme_is_short(tmp_path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    assert parse(found[1], "README.md", tmp_path).config.node is not None
    assert len(text.splitlines()) <= LINE_MAX
