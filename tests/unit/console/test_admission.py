"""Who may look at the console and who may change something: every way in, and every way that is none."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from multidict import CIMultiDict

from gateway import redaction
from gateway.console.actions import KEYS_MAX, keys_of
from gateway.console.admission import TRIES_MAX, TRY_AGAIN_S, Doorman, Refused, may_look, why_read_only
from gateway.console.documents import shown_value

TOKEN = "correct horse battery"  # noqa: S105  # of the tests
SOUND = {"Host": "localhost:8080", "Origin": "http://localhost:8080", "Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def knowing_nothing(monkeypatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.fixture
def token_file(tmp_path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\nmore\n", "utf-8")
    return str(path)


def request(link: str = "unix", content_type: str = "application/json", **headers: str | None):
    """Return what admission looks at of a request that came over `link`: unix, tcp or tls."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = CIMultiDict({name: value for name, value in {**SOUND, **named}.items() if value is not None})
    family = socket.AF_UNIX if link == "unix" else socket.AF_INET
    about = {"socket": SimpleNamespace(family=family), "sslcontext": object() if link == "tls" else None}
    scheme = "https" if link == "tls" else "http"
    transport = SimpleNamespace(get_extra_info=about.get)
    return SimpleNamespace(
        headers=fields, host=fields["Host"], scheme=scheme, content_type=content_type, transport=transport
    )


def refused(doorman: Doorman, asked) -> int:
    with pytest.raises(Refused) as found:
        doorman.may_change(asked)
    return found.value.status


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "127.9.9.9"])
def test_names_of_this_machine_may_look(host) -> None:
    may_look(request(Host=host))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", ""])
@pytest.mark.parametrize("link", ["unix", "tcp"])
def test_a_name_that_was_made_to_point_here_is_refused(host, link) -> None:
    with pytest.raises(Refused, match="names of this machine"):
        may_look(request(link, Host=host))


def test_over_tls_the_certificate_names_the_host() -> None:
    may_look(request("tls", Host="box.example:9443"))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_page_of_another_site_asks_for_is_refused(site) -> None:
    with pytest.raises(Refused, match="its own page"):
        may_look(request(Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors"))
    may_look(request(Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate"))  # a link that a person followed


def test_the_token_permits_changes_over_a_unix_socket_and_tls(token_file) -> None:
    doorman = Doorman(token_file, lambda: 0.0)
    doorman.may_change(request())
    doorman.may_change(request("tls", Host="box:1", Origin="https://box:1"))


def test_no_token_permits_changes_over_plain_tcp(token_file) -> None:
    assert refused(Doorman(token_file, lambda: 0.0), request("tcp")) == 403
    assert "need a Unix socket or TLS" in why_read_only(request("tcp"), token_file)
    assert "no token is configured" in why_read_only(request(), "")


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN} "}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": "Bearer \udcff\udcff"}, 401),
    ],
)
def test_a_change_that_lacks_anything_is_refused(token_file, wrong, status) -> None:
    assert refused(Doorman(token_file, lambda: 0.0), request(**wrong)) == status


def test_guessing_is_held_back_and_the_right_token_waits_as_long(token_file) -> None:
    now = [0.0]
    doorman = Doorman(token_file, lambda: now[0])
    guesses = [refused(doorman, request(Authorization="Bearer wrong")) for _ in range(TRIES_MAX + 2)]
    assert guesses == [401] * TRIES_MAX + [429] * 2
    assert refused(doorman, request()) == 429
    now[0] = TRY_AGAIN_S
    doorman.may_change(request())


def test_a_token_may_be_replaced_and_one_that_is_missing_or_short_permits_nothing(token_file, tmp_path) -> None:
    doorman = Doorman(token_file, lambda: 0.0)
    (tmp_path / "token").write_text("another one that is long", "utf-8")
    assert refused(doorman, request()) == 401
    (tmp_path / "token").write_text("short\n", "utf-8")
    assert refused(doorman, request(Authorization="Bearer short")) == 403
    (tmp_path / "token").unlink()
    assert refused(doorman, request()) == 403
    (tmp_path / "token").write_text("", "utf-8")
    assert refused(doorman, request(Authorization="Bearer ")) == 403


def test_the_token_is_masked_wherever_it_turns_up(token_file) -> None:
    Doorman(token_file, lambda: 0.0).may_change(request())
    assert TOKEN not in redaction.masked(f"somebody said {TOKEN}")


@pytest.mark.parametrize("body", [[], 1, None, {"keys": 1}, {"keys": [1]}, {"keys": ["-1"]}, {"keys": ["²"]}])
def test_keys_that_are_none_are_refused(body) -> None:
    with pytest.raises(ValueError, match=r"expected|a key is"):
        keys_of(body)


def test_keys_are_texts_of_digits_and_bounded() -> None:
    assert keys_of({"keys": ["1", "9223372036854775807"]}) == (1, 2**63 - 1)
    assert keys_of({}) == ()
    with pytest.raises(ValueError, match="at most"):
        keys_of({"keys": ["1"] * (KEYS_MAX + 1)})
    with pytest.raises(ValueError, match="a key is"):
        keys_of({"keys": [str(2**63)]})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('"https://hooks.example/a/b"', '"https://hooks.example/a/b"'),
        ('"https://user:secret@hooks.example/a"', '"https://hooks.example/a"'),
        ('"https://hooks.example/a?sig=abc&x=1#f"', '"https://hooks.example/a?…#f"'),
        ('["amqps://u:p@a/", "b"]', '["amqps://a/", "b"]'),
        ('"temperature > 3"', '"temperature > 3"'),
    ],
)
def test_secrets_of_a_url_are_not_shown(value, shown) -> None:
    assert shown_value(value) == shown
