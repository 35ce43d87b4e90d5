"""Fields are renamed, rescaled and protected before anything remembers them; nobody reads or moves a protected one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import schema
from gateway.errors import DecodeError
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.fields import changes
from gateway.process.material import Material
from gateway.process.pipeline import Pipeline
from gateway.process.protect import Protection

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
VALUES = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text()
    | st.binary()
)


def changed(row: dict[str, object], *fields: schema.Field, key: bytes | None = KEY) -> dict[str, object]:
    for change in changes(fields, key):
        change(row, "plant/a", 7)  # type: ignore[arg-type]  # a row
    return row


@pytest.mark.parametrize(
    ("field", "row", "expected"),
    [
        (schema.Field(name="a.b", rename="power"), {"a.b": 1, "c": 2}, {"c": 2, "power": 1}),
        (schema.Field(name="x", rename="y"), {"c": 2}, {"c": 2}),
        (schema.Field(name="t", factor=1.8, offset=32.0), {"t": 100}, {"t": 212.0}),
        (schema.Field(name="t", factor=1000.0), {"t": 3}, {"t": 3000}),
        (schema.Field(name="t", factor=1000.0), {"t": 2**62}, {"t": float(2**62 * 1000)}),
        (schema.Field(name="t", factor=0.5), {"t": True}, {"t": True}),
        (schema.Field(name="t", factor=0.5), {"t": "off"}, {"t": "off"}),
        (schema.Field(name="t", protect="remove"), {"t": "Ann", "c": 2}, {"c": 2}),
        (schema.Field(name="t", rename="u", factor=2.0, protect="remove"), {"t": 1, "c": 2}, {"c": 2}),
    ],
)
def test_a_field_is_changed_as_configured(field, row, expected) -> None:
    found = changed(row, field)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


def test_changes_apply_in_their_order() -> None:
    swap = (schema.Field(name="a", rename="x"), schema.Field(name="b", rename="a"), schema.Field(name="x", rename="b"))
    assert changed({"a": 1, "b": 2}, *swap) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("field", "row", "reason"),
    [
        (schema.Field(name="a", rename="b"), {"a": 1, "b": 2}, "duplicate_key"),
        (schema.Field(name="a", factor=1e300), {"a": 1e300}, "number_too_large"),
    ],
)
def test_what_cannot_be_done_is_a_fault(field, row, reason) -> None:
    with pytest.raises(DecodeError) as caught:
        changed(row, field)
    assert caught.value.reason == reason


@given(VALUES)
def test_an_encrypted_value_comes_back_with_the_key_for_its_series_only(value) -> None:
    data = changed({"name": value}, schema.Field(name="name", protect="encrypt"))["name"]
    assert isinstance(data, bytes)
    found = Protection(KEY).decrypted("plant/a", "name", data)
    assert (found, type(found)) == (value, type(value))
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    for protection, topic, field, one in (
        (Protection(OTHER), "plant/a", "name", data),
        (Protection(KEY), "plant/b", "name", data),
        (Protection(KEY), "plant/a", "other", data),
        (Protection(KEY), "plant/a", "name", flipped),
        (Protection(KEY), "plant/a", "name", data[:20]),
    ):
        with pytest.raises(DecodeError):
            protection.decrypted(topic, field, one)


def test_no_two_ciphertexts_share_a_nonce_unless_they_are_the_same() -> None:
    protection = Protection(KEY)
    said = [
        ("plant/a", "f", 1, 5),
        ("plant/b", "f", 1, 5),
        ("plant/a", "g", 1, 5),
        ("plant/a", "f", 2, 5),
        ("plant/a", "f", 1, 6),
    ]
    nonces = {protection.encrypted(*one)[:12] for one in said}
    assert len(nonces) == len(said)
    assert protection.encrypted(*said[0]) == protection.encrypted(*said[0]), "a replay makes the same batch"


@given(VALUES, VALUES)
def test_equal_values_have_equal_hashes_under_one_key_and_no_others(one, two) -> None:
    protection = Protection(KEY)
    is_same = (one, type(one)) == (two, type(two)) and repr(one) == repr(two)
    assert (protection.hashed(one) == protection.hashed(two)) == is_same
    assert protection.hashed(one) != Protection(OTHER).hashed(one)


def test_without_a_key_what_must_be_protected_is_removed() -> None:
    fields = (schema.Field(name="a", protect="hash"), schema.Field(name="b", protect="encrypt"))
    assert changed({"a": 1, "b": 2, "c": 3}, *fields, key=None) == {"c": 3}


def applied(fields: tuple[schema.Field, ...], payload: bytes) -> Pipeline:
    route = schema.Route(name="raw", topics=("#",), lane="t", field=fields, key_file="k", keep="secret != 'Ann'")
    pipeline = Pipeline((route,), (schema.Lane(name="t"),), schema.Broker(), "n", 1, Material({}, {"k": KEY}))
    group = MessageGroup(5, 1, CLOCK_SYNCHRONISED, 1, False, ["plant/a"], [payload], [1], [QOS1], {})
    for _ in pipeline.apply(group, 0):
        pass
    return pipeline


def test_steps_and_state_never_see_what_is_protected() -> None:
    fields = (schema.Field(name="secret", protect="hash"),)
    pipeline = applied(fields, b'{"secret": "Ann", "value": 1}')
    assert pipeline.open_readings == 2, "the expression saw the hash"
    assert b"Ann" not in b"".join(pipeline.state_slices())


def test_a_message_of_which_nothing_is_left_is_decoded_and_has_no_readings() -> None:
    pipeline = applied((schema.Field(name="secret", protect="remove"),), b'{"secret": "Ann"}')
    assert pipeline.ledger["message.decoded"] == 1
    assert pipeline.ledger["reading.decoded"] == 0
