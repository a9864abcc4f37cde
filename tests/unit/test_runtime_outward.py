"""Where a stranger may make this server connect to."""

import socket

import pytest

from duckmail.runtime import outward
from duckmail.runtime.outward import Outward


@pytest.mark.parametrize(
    ("address", "allow", "permitted"),
    [
        pytest.param("8.8.8.8", (), True, id="public"),
        pytest.param("127.0.0.1", (), False, id="loopback"),
        pytest.param("127.0.0.1", ("127.0.0.0/8",), True, id="allowed"),
        pytest.param("::ffff:127.0.0.1", ("127.0.0.0/8",), True, id="allowed-as-mapped"),
        pytest.param("64:ff9b::a00:1", ("10.0.0.0/8",), True, id="allowed-behind-nat64"),
        pytest.param("64:ff9b::a00:1", (), False, id="nat64"),
        pytest.param("10.0.0.1", ("127.0.0.0/8", "fd00::/8"), False, id="another-network"),
        pytest.param("fd00::1", ("fd00::/8",), True, id="allowed-v6"),
        pytest.param("fe80::1%lo", (), False, id="scope"),
        pytest.param("0.0.0.0", (), False, id="unspecified"),
        pytest.param("224.0.0.1", (), False, id="multicast"),
        pytest.param("2130706433", ("0.0.0.0/0",), False, id="a-number-is-no-address"),
        pytest.param("0177.0.0.1", ("0.0.0.0/0",), False, id="octal-is-no-address"),
        pytest.param("mx.example", ("0.0.0.0/0",), False, id="a-name"),
    ],
)
def test_what_is_permitted(address: str, allow: tuple[str, ...], permitted: bool) -> None:
    assert Outward(allow).permits(address, 443) is permitted


def test_our_own_listeners_are_refused_on_public_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    # This host has no public address: loopback stands for one.
    monkeypatch.setattr(outward, "is_public", lambda _: True)
    rule = Outward()
    assert rule.permits("127.0.0.1", 8080)
    rule.listening([8080, 993])
    assert not rule.permits("127.0.0.1", 8080)
    assert not rule.permits("::ffff:127.0.0.1", 993)
    assert rule.permits("127.0.0.1", 443)
    assert rule.permits("192.0.2.1", 8080)  # another host's
    assert Outward(["127.0.0.1"]).permits("127.0.0.1", 8080)


def test_looking_leaves_no_socket() -> None:
    rule = Outward()
    rule.listening([25])
    with socket.socket() as before:
        number = before.fileno()
    for _ in range(10):
        rule.permits("8.8.8.8", 25)
    with socket.socket() as after:
        assert after.fileno() == number
