"""Where the endpoint may listen: on this machine, nowhere else."""

import pytest

from gateway.health.listen import Address, address, host_of, is_loopback


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1:9273", Address("127.0.0.1", 9273)),
        ("127.8.8.8:0", Address("127.8.8.8", 0)),
        ("localhost:9273", Address("127.0.0.1", 9273)),
        ("[::1]:9273", Address("::1", 9273)),
        ("/run/edge-gateway/health.sock", Address("", 0, "/run/edge-gateway/health.sock")),
    ],
)
def test_what_is_written_is_meant(written, meant) -> None:
    assert address(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "0.0.0.0:9273",
        "[::]:9273",
        ":9273",
        "192.168.1.5:9273",
        "gateway.example.org:9273",
        "[::ffff:1.2.3.4]:80",
        "1:1",
    ],
)
def test_an_address_beyond_this_machine_is_refused(written) -> None:
    with pytest.raises(ValueError, match="beyond this machine"):
        address(written)


@pytest.mark.parametrize(
    "written", ["9273", "127.0.0.1", "127.0.0.1:", "health.sock", "::1:9273", "[::1]", "127.0.0.1:1e3"]
)
def test_what_is_no_address_is_refused(written) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        address(written)


def test_bounds_of_the_machine_are_named() -> None:
    with pytest.raises(ValueError, match="65535"):
        address("127.0.0.1:65536")
    with pytest.raises(ValueError, match="107"):
        address("/" + 107 * "x")


def test_the_host_is_taken_out_of_a_field() -> None:
    assert [host_of(one) for one in ("localhost", "localhost:1", "[::1]:80", "[::1]", "127.0.0.1:9", "")] == [
        "localhost",
        "localhost",
        "::1",
        "::1",
        "127.0.0.1",
        "",
    ]
    assert not is_loopback(host_of("evil.example:9273"))
