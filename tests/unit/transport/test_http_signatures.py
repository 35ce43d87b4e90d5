"""Signatures of requests: the vectors of RFC 9421, appendix B, and everything that must not pass as signed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.http_signatures import (
    Parameters,
    Request,
    SignatureError,
    content_digest,
    sign,
    signature_base,
    verify,
)

CREATED = 1618884473
CONTENT = b'{"hello": "world"}'
DIGEST = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
REQUEST = Request(
    "POST",
    "https://example.com/foo?param=Value&Pet=dog",
    {
        "host": "example.com",
        "date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "content-type": "application/json",
        "content-digest": DIGEST,
        "content-length": "18",
    },
)
"""`test-request` of RFC 9421, appendix B.2."""

RSA_PSS_PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----"""
"""`test-key-rsa-pss` of appendix B.1.2; only here, to hold our signature base against what the RFC signed."""

ED25519_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----"""
"""`test-key-ed25519` of appendix B.1.4."""

SECRET = base64.b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
"""`test-shared-secret` of appendix B.1.5."""

B21 = (
    "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG"
    "52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVro"
    "gUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ"
    "98Xw9Q=="
)
B23 = (
    "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fU"
    "xN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA"
    "1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKE"
    "gM4cUA=="
)
B25 = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"
B26 = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
B4 = "transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:"


def ed25519() -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(ED25519_PEM, None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def with_fields(request: Request, fields: dict[str, str]) -> Request:
    return request._replace(fields={**request.fields, **{name.lower(): value for name, value in fields.items()}})


@pytest.mark.parametrize(
    ("components", "parameters", "signature"),
    [
        ((), ';created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"', B21),
        (
            (
                "date",
                "@method",
                "@path",
                "@query",
                "@authority",
                "content-type",
                "content-digest",
                "content-length",
            ),
            ';created=1618884473;keyid="test-key-rsa-pss"',
            B23,
        ),
    ],
    ids=["B.2.1", "B.2.3"],
)
def test_the_signature_base_is_the_one_that_the_rfc_signed(components, parameters, signature) -> None:
    stated = f"({' '.join(f'{chr(34)}{name}{chr(34)}' for name in components)}){parameters}"
    base = signature_base(REQUEST, components, stated)
    key = serialization.load_pem_public_key(RSA_PSS_PUBLIC)
    pss = padding.PSS(padding.MGF1(hashes.SHA512()), 64)
    key.verify(base64.b64decode(signature), base, pss, hashes.SHA512())


def test_hmac_gives_the_signature_of_appendix_b_2_5() -> None:
    components = ("date", "@authority", "content-type")
    fields = sign(REQUEST, components, Parameters(CREATED, "test-shared-secret"), SECRET, "sig-b25")
    assert fields == {
        "Signature-Input": 'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
        "Signature": B25,
    }
    signed = verify(with_fields(REQUEST, fields), CONTENT, lambda _: SECRET, CREATED, required=components)
    assert signed.components == components


def test_ed25519_gives_the_signature_of_appendix_b_2_6() -> None:
    components = ("date", "@method", "@path", "@authority", "content-type", "content-length")
    fields = sign(REQUEST, components, Parameters(CREATED, "test-key-ed25519"), ed25519(), "sig-b26")
    assert fields == {
        "Signature-Input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"',
        "Signature": B26,
    }
    public = ed25519().public_key()
    signed = verify(with_fields(REQUEST, fields), CONTENT, lambda _: public, CREATED, required=components)
    assert signed.parameters == Parameters(CREATED, "test-key-ed25519")


def transformed(**changes: str) -> Request:
    """Return the signed request of appendix B.4 as a proxy may hand it on."""
    stated = 'transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"'
    fields = {"accept": "application/json, */*", "signature-input": stated, "signature": B4}
    request = Request("GET", "https://example.org/demo?name1=Value1&Name2=value2", fields)
    accept = changes.pop("accept", "")
    return with_fields(request._replace(**changes), {"accept": accept} if accept else {})


@pytest.mark.parametrize(
    "request_",
    [
        transformed(),
        transformed(url="https://example.org/demo?name1=Value1&Name2=value2&param=added"),
        transformed(url="https://EXAMPLE.org:443/demo"),
        transformed(accept="  application/json, */* "),
    ],
)
def test_a_change_that_is_not_covered_leaves_the_signature_of_appendix_b_4_valid(request_) -> None:
    assert verify(request_, b"", lambda _: ed25519(), CREATED, required=["@method", "accept"]).label == "transform"


@pytest.mark.parametrize(
    "request_",
    [
        transformed(method="POST"),
        transformed(url="https://example.com/demo"),
        transformed(url="https://example.org:8443/demo"),
        transformed(url="https://example.org/Demo"),
        transformed(accept="*/*, application/json"),
    ],
)
def test_a_change_that_is_covered_breaks_the_signature_of_appendix_b_4(request_) -> None:
    with pytest.raises(SignatureError, match="not one of this request"):
        verify(request_, b"", lambda _: ed25519(), CREATED, required=())


def test_the_digest_of_the_rfc_is_held_against_the_content() -> None:
    fields = sign(REQUEST, ["content-digest"], Parameters(CREATED), SECRET, "a")
    request = with_fields(REQUEST, fields)
    assert verify(request, CONTENT, lambda _: SECRET, CREATED, required=["content-digest"])
    with pytest.raises(SignatureError, match="content is not the one"):
        verify(request, CONTENT + b" ", lambda _: SECRET, CREATED, required=["content-digest"])


def test_the_digest_is_the_one_of_rfc_9530() -> None:
    # RFC 9530, appendix B.1: the content of a complete representation, with its line feed.
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def signed(parameters: Parameters, key=SECRET, components=("@method",)) -> Request:
    return with_fields(REQUEST, sign(REQUEST, components, parameters, key, "a"))


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        (Parameters(), "does not say when"),
        (Parameters(CREATED + 61), "in the future"),
        (Parameters(CREATED - 301), "301 s old"),
        (Parameters(CREATED, expires=CREATED - 1), "expired 1 s ago"),
        (Parameters(CREATED, algorithm="ed25519"), "algorithm ed25519"),
        (Parameters(CREATED, "another"), 'key "another" is not known'),
    ],
)
def test_a_signature_out_of_its_time_or_by_a_wrong_key_is_refused(parameters, fault) -> None:
    with pytest.raises(SignatureError, match=fault):
        verify(signed(parameters), CONTENT, {"": SECRET}.get, CREATED, required=())


def test_a_public_key_is_never_taken_for_a_secret() -> None:
    raw = ed25519().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    forged = signed(Parameters(CREATED), raw)
    with pytest.raises(SignatureError, match="not one of this request"):
        verify(forged, CONTENT, lambda _: ed25519().public_key(), CREATED, required=())


def test_what_must_be_covered_and_is_not_is_named() -> None:
    with pytest.raises(SignatureError, match=r"does not cover @path, content-digest \("):
        verify(
            signed(Parameters(CREATED)),
            CONTENT,
            lambda _: SECRET,
            CREATED,
            required=["@method", "@path", "content-digest"],
        )


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"signature-input": ""}, "not signed"),
        ({"signature-input": "a"}, "not a well-formed list"),
        ({"signature-input": 'a=("@method");created=1,'}, "ends with a comma"),
        ({"signature-input": 'a=("@method");created=1, b=("@method");created=1'}, "several signatures"),
        ({"signature-input": 'a=("@method" "@method");created=1618884473'}, "covered twice"),
        ({"signature-input": 'a=("@query-param";name="Pet");created=1618884473'}, "not a well-formed list"),
        ({"signature-input": 'a=("@nothing");created=1618884473'}, "@nothing is not one that is understood"),
        ({"signature-input": 'a=("nothing");created=1618884473'}, "no field nothing"),
        ({"signature-input": 'a=("@method");created="x"'}, "where a time must be"),
        ({"signature-input": 'a=("@method");created=1618884473;keyid=5'}, "where a text must be"),
        ({"signature-input": 'a=("@method");created=1618884473;new=5'}, "parameter new"),
        ({"signature-input": "a=()" + ";created=1" * 1000}, "longer than 8192 bytes"),
        ({"signature": ""}, "no signature a"),
        ({"signature": "b=:AAAA:"}, "no signature a"),
        ({"signature": "a=:AAA:"}, "base64"),
        ({"content-type": "a\r\nb: c", "signature-input": 'a=("content-type");created=1618884473'}, "one line"),
        ({"content-type": "ä", "signature-input": 'a=("content-type");created=1618884473'}, "plain ASCII"),
    ],
)
def test_what_is_not_in_the_form_of_a_signature_is_refused_and_said_why(fields, fault) -> None:
    request = with_fields(signed(Parameters(CREATED)), fields)
    with pytest.raises(SignatureError, match=fault):
        verify(request, CONTENT, lambda _: SECRET, CREATED, required=())


def test_a_digest_of_no_known_algorithm_is_no_digest() -> None:
    request = with_fields(REQUEST, {"content-digest": "md5=:AAAA:"})
    request = with_fields(request, sign(request, ["content-digest"], Parameters(CREATED), SECRET, "a"))
    with pytest.raises(SignatureError, match="SHA-256 or SHA-512"):
        verify(request, CONTENT, lambda _: SECRET, CREATED, required=())


def test_one_of_several_signatures_is_chosen_by_its_label() -> None:
    one = sign(REQUEST, ["@path"], Parameters(CREATED), b"other", "one")
    two = sign(REQUEST, ["@method"], Parameters(CREATED), SECRET, "two")
    request = with_fields(REQUEST, {name: f"{one[name]}, {two[name]}" for name in one})
    assert verify(request, CONTENT, lambda _: SECRET, CREATED, required=(), label="two").components == ("@method",)
    with pytest.raises(SignatureError, match="no signature three"):
        verify(request, CONTENT, lambda _: SECRET, CREATED, required=(), label="three")


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(keyid=TEXTS, nonce=TEXTS, expires=st.none() | st.integers(CREATED, CREATED + 9), content=st.binary(max_size=50))
def test_what_is_signed_verifies_and_tells_its_parameters(keyid, nonce, expires, content) -> None:
    request = with_fields(REQUEST, {"content-digest": content_digest(content)})
    parameters = Parameters(CREATED, keyid, "ed25519", expires, nonce)
    components = ("@method", "@target-uri", "@request-target", "@scheme", "content-digest")
    request = with_fields(request, sign(request, components, parameters, ed25519(), "a"))
    assert verify(request, content, lambda _: ed25519(), CREATED, required=components).parameters == parameters


STATED = st.text(max_size=60) | st.just('a=("@authority");created=1618884473')
SIGNATURES = st.text(max_size=60) | st.just("a=:AAAA:")
AUTHORITIES = st.text("[]:.@1a%", max_size=8)


@given(STATED, SIGNATURES, AUTHORITIES)
def test_no_fields_whatever_raise_anything_but_a_signature_error(stated, signature, authority) -> None:
    request = Request("POST", f"https://{authority}/", {"signature-input": stated, "signature": signature})
    with pytest.raises(SignatureError):
        verify(request, b"", lambda _: SECRET, CREATED, required=["@authority"])
