"""Whatever is published: decoders refuse or take it, by their contract, in time and memory that it is worth.

So does the compiler of expressions with whatever is configured. Three ways to find what does not: mutations of known
payloads, documents made by Hypothesis, and atheris, which sees what code runs (only in the long form, where it is
installed). GATEWAY_LONG=1 tries more than a million inputs each way of the first and the last; GATEWAY_SEED repeats.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cbor2
import msgspec
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gateway.errors import DecodeError
from tests.support import fuzzing
from tests.support.fuzzing import IS_LONG, Fuzzer, Target

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("GATEWAY_SEED") or random.SystemRandom().randrange(2**32))
print(f"GATEWAY_SEED={SEED}")  # noqa: T201  # what repeats a failure

TARGETS = fuzzing.targets()
INPUTS = 1_000_000 // len(TARGETS) + 1 if IS_LONG else 1_000
CHILD_S = 1800
EXAMPLES = 20_000 if IS_LONG else 50

texts = (
    st.sampled_from(("a", "t", "value", "temperature", "e", "", "n", "v", "bn", "bt", "vd", "u", "a.b", "0"))
    | st.text()
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    texts,
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=25
)
tables = st.lists(st.dictionaries(texts, leaves, min_size=1, max_size=6), max_size=6)


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutated_input_breaks_a_promise(name) -> None:
    report = Fuzzer(TARGETS[name], SEED).run(INPUTS)
    print(f"{name}: {report}")  # noqa: T201  # figures for people
    assert len(report.kinds) > 1, "nothing but the same answer: the inputs do not fit the format"


@pytest.mark.parametrize("name", [name for name in TARGETS if name != fuzzing.EXPRESSION])
def test_no_document_breaks_the_contract(name) -> None:
    target = TARGETS[name]
    encoded = _encoder(name)
    turns = [(limits, target.make(limits)) for limits in fuzzing.LIMITS]

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, print_blob=False, suppress_health_check=list(HealthCheck)
    )
    @given(documents | tables)
    def held(document) -> None:
        payload = encoded(document)
        for limits, attempt in turns:
            target.judge(attempt(payload), limits)

    held()


def _encoder(name):
    """Return how a document becomes a payload of a format; of formats without documents, text that is near to one."""
    if "cbor" in name:
        return cbor2.dumps
    if "msgpack" in name:
        return lambda document: msgspec.msgpack.encode(_within_msgpack(document))
    if name == fuzzing.SPARKPLUG:
        return lambda document: b"\x01\x12" + _delimited(json.dumps(document).encode()[:120])
    if name in {"csv", "line"}:
        return lambda document: re.sub(r"[\[\]{}]", "\n", json.dumps(document)).replace(": ", "=").encode()
    return lambda document: json.dumps(document).encode()


def _delimited(data: bytes) -> bytes:
    return bytes([len(data) + 2, 10, len(data)]) + data


def _within_msgpack(document):
    """Return a document whose integers MessagePack can hold."""
    match document:
        case dict():
            return {key: _within_msgpack(value) for key, value in document.items()}
        case list():
            return [_within_msgpack(value) for value in document]
        case int():
            return max(-(2**63), min(document, 2**64 - 1))
        case _:
            return document


@pytest.mark.skipif(not IS_LONG, reason="takes minutes: GATEWAY_LONG=1")
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_that_reaches_new_code_breaks_a_promise(name, tmp_path) -> None:
    arguments = [name, str(INPUTS), str(SEED), str(tmp_path)]
    command = [sys.executable, "-m", "tests.support.coverage_fuzzing", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=CHILD_S, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
    assert tried, done.stdout[-4000:]
    assert int(tried[1]) >= INPUTS
    covered = re.findall(r"cov: (\d+)", done.stdout)
    print(f"{name}: {int(tried[1]):,} inputs, edges {covered[-1] if covered else '?'}")  # noqa: T201  # for people


def _faulty(work) -> Fuzzer:
    made = []

    def make(_) -> fuzzing.Attempt:
        made.append(None)
        number = len(made)
        return fuzzing.attempt_of(lambda data: work(data, number))

    return Fuzzer(Target("faulty", make, lambda answer, _: answer[0], (b"abc",)), SEED)


def _raising(data, _):
    return 1 // (b"{" not in data)


def _slow(data, _):
    return sum(1 for _ in range(len(data) ** 2 // 8))


def _greedy(data, _):
    return len(bytes(300 * len(data)) + bytes(100_000))


def _unsteady(data, number):
    return data + bytes([number]) if b"{" in data else data


@pytest.mark.parametrize(
    ("work", "says"),
    [(_raising, "faulty: b"), (_slow, "faulty: b"), (_greedy, "bytes for"), (_unsteady, "in two ways")],
)
def test_what_breaks_a_promise_is_found(work, says) -> None:
    with pytest.raises(AssertionError, match=says):
        _faulty(work).run(3_000)


def test_what_is_refused_by_the_rules_is_no_fault() -> None:
    def refuse(*_):
        raise DecodeError("malformed", "it is not what it should be")

    assert _faulty(refuse).run(300).kinds == {"refused"}


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = ([], [])
    for seen in (first, second):

        def see(data, number, seen=seen):
            if number == 1:
                seen.append(data)

        _faulty(see).run(500)
    assert first == second
    assert len(set(first)) > len(first) // 3
