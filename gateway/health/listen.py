"""Where the HTTP endpoint listens: a loopback address and port, or the absolute path of a Unix socket.

The endpoint has neither TLS nor passwords, so it is for this machine alone. What another machine should see goes
through something that has both: an agent on the box, a reverse proxy, `ssh -L`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

PORT_MAX: Final = 65535
SOCKET_PATH_BYTES_MAX: Final = 107
"""Of `sun_path`, unix(7)."""

_WRITTEN: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")


class Address(NamedTuple):
    """A parsed address: `path` of a Unix socket, or `host` and `port`."""

    host: str
    port: int
    path: str = ""


def address(listen: str, *, is_guarded: bool = False) -> Address:
    """Return the address that `listen` names. Raises `ValueError` with what is wrong, to be read after its name.

    `is_guarded`: TLS lets in those with a certificate alone, so any address will do.
    """
    if listen.startswith("/"):
        size = len(listen.encode())
        if size > SOCKET_PATH_BYTES_MAX:
            raise ValueError(f"has {size} bytes and Unix takes {SOCKET_PATH_BYTES_MAX}: name a shorter path")
        return Address("", 0, listen)
    found = _WRITTEN.fullmatch(listen)
    if found is None:
        raise ValueError(
            'is neither "address:port" nor an absolute path: write "127.0.0.1:9273" or "/run/…/health.sock"'
        )
    port = int(found["port"])
    if port > PORT_MAX:
        raise ValueError(f"names port {port}, and the highest is {PORT_MAX}")
    host = found["v6"] or found["host"] or ""
    if not is_guarded and not is_loopback(host):
        raise ValueError(
            f'listens beyond this machine on "{host}", without TLS or passwords: use 127.0.0.1, and ssh -L or a reverse'
            " proxy for others"
        )
    return Address("127.0.0.1" if host == "localhost" else host, port)


def is_loopback(host: str) -> bool:
    """Say whether a host name or address, without brackets, is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(field: str) -> str:
    """Return the host of an HTTP Host field, without port and brackets."""
    if field.startswith("["):
        return field[1:].partition("]")[0]
    return field.rpartition(":")[0] if ":" in field else field
