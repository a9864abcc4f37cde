"""Peers, their networks, and sets of networks."""

import re

import pytest

from protocols.net.peer import Networks, Peer


@pytest.mark.parametrize(
    ("host", "shown", "network"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", "192.0.2.1/32", id="ipv4"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1/32", id="ipv4-in-ipv6"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="ipv6"),
        pytest.param("fe80::1%eth0", "fe80::1", "fe80::/64", id="zone-index"),
    ],
)
def test_peer_of_address(host: str, shown: str, network: str) -> None:
    peer = Peer.of(host, 25)
    assert (peer.host, peer.network) == (shown, network)


def test_unix_peers_are_one_network() -> None:
    assert Peer("", 0, unix=True).network == Peer("/a", 0, unix=True).network == "unix"


@pytest.mark.parametrize(
    ("networks", "peer", "inside"),
    [
        pytest.param(["10.0.0.0/8"], Peer.of("10.1.2.3", 1), True, id="in-network"),
        pytest.param(["10.0.0.0/8"], Peer.of("11.1.2.3", 1), False, id="outside"),
        pytest.param(["10.1.2.3"], Peer.of("10.1.2.3", 1), True, id="single-address"),
        pytest.param(["10.0.0.0/8"], Peer.of("::ffff:10.1.2.3", 1), True, id="mapped"),
        pytest.param(["0.0.0.0/0"], Peer.of("2001:db8::1", 1), False, id="families-are-apart"),
        pytest.param(["2001:db8::/32"], Peer.of("2001:db8::1", 1), True, id="ipv6"),
        pytest.param(["0.0.0.0/0", "::/0"], Peer("", 0, unix=True), False, id="unix-is-no-address"),
        pytest.param(["unix"], Peer("", 0, unix=True), True, id="unix"),
        pytest.param(["unix"], Peer.of("127.0.0.1", 1), False, id="loopback-is-not-unix"),
        pytest.param([], Peer.of("127.0.0.1", 1), False, id="nobody"),
    ],
)
def test_networks(networks: list[str], peer: Peer, inside: bool) -> None:
    assert (peer in Networks(networks)) is inside


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33", "10.0.0.0/8 "])
def test_bad_network_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Networks([text])
