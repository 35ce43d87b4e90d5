"""The console's options: which of them fit together, and what is said where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import parse
from gateway.errors import ConfigError

NODE = """
[node]
id = "n"
state_folder = "/state"
[[spool.lanes]]
name = "a"
[[route]]
name = "all"
topics = ["#"]
lane = "a"
"""
TLS = '\ntls_certificate = "c.pem"\ntls_key = "c.key"\ntls_ca = "ca.pem"'


def faults(console: str, text: str = NODE) -> str:
    with pytest.raises(ConfigError) as found:
        parse(f"{text}\n[console]\n{console}", "gateway.toml", Path("/etc"))
    return "\n".join(found.value.faults)


@pytest.mark.parametrize(
    "console",
    [
        "",
        'listen = "/run/console.sock"\ntoken_file = "token"',
        'listen = "127.0.0.1:9274"',
        f'listen = "0.0.0.0:9443"\ntoken_file = "token"{TLS}',
    ],
)
def test_what_fits_together_is_taken(console) -> None:
    loaded = parse(f"{NODE}\n[console]\n{console}", "gateway.toml", Path("/etc"))
    assert loaded.config.console.token_file in {"", "/etc/token"}


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ('listen = "0.0.0.0:9274"', "console.listen: listens beyond this machine"),
        ('listen = "console.sock"', "console.listen: is neither"),
        ('listen = "/state/gateway.sock"', "console.listen: is the socket of something else already"),
        ('token_file = "token"', "console.listen: is needed by the other options"),
        ('listen = "127.0.0.1:1"\ntoken_file = "token"', "console.token_file: means nothing on a port without TLS"),
        ('listen = "127.0.0.1:1"\ntls_certificate = "c.pem"', "console.tls_ca: is needed where TLS is spoken"),
        ('listen = "127.0.0.1:1"\ntls_ca = "ca.pem"', "console.tls_key: is needed where TLS is spoken"),
        ('listen = "127.0.0.1:1"\n[health]\nlisten = "127.0.0.1:1"', "console.listen: is where health.listen is"),
        ('listen = "/x.sock"\n[health]\nlisten = "/x.sock"', "console.listen: is the socket of something else"),
    ],
)
def test_what_does_not_fit_is_named(console, said) -> None:
    assert said in faults(console)
