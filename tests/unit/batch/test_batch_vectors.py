"""Golden bytes: what was once sealed is decoded for ever, and the same readings have the same hash for ever."""

import json
from dataclasses import asdict

import pytest

from gateway.batch import envelope, gap
from gateway.batch.decode import decode
from gateway.model import Gap
from tests.support.batch_vectors import FOLDER, as_json, reading_as_json, vectors

NAMES = sorted(path.stem for path in FOLDER.glob("*.egb"))


def test_every_vector_is_known_and_every_known_one_is_there():
    assert sorted(vectors()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_vector_is_decoded_as_it_was_written(name):
    data = (FOLDER / f"{name}.egb").read_bytes()
    expected = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    found = decode(data)
    if isinstance(found, Gap):
        assert as_json(found, data) == expected
        return
    assert [reading_as_json(one) for one in found.readings()] == expected["readings"]
    header = found.header._asdict()
    header |= {"id": list(header["id"]), "hash": header["hash"].hex()}
    traceparent = header.pop("traceparent")
    assert traceparent == expected["header"].pop("traceparent", "")
    thinned = header.pop("thinned")
    assert (asdict(thinned) if thinned else None) == expected["header"].pop("thinned", None)
    assert header == expected["header"]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_content_is_sealed_under_the_same_hash_for_ever(name):
    expected = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    what = vectors()[name]
    if isinstance(what, Gap):
        assert gap.encode(what) == (FOLDER / f"{name}.egb").read_bytes()
    else:
        assert envelope.seal(what, "another boot").hash.hex() == expected["header"]["hash"]
