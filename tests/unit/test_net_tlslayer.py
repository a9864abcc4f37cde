"""The TLS layer without a socket: any cut gives the same, forged records, the end of the stream."""

import contextlib
import itertools
import ssl
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.net.tlslayer import TlsLayer
from tests.support.net import client_context, shared_contexts


class Client:
    """A client in memory."""

    def __init__(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        context = client_context()
        context.minimum_version = context.maximum_version = version
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing)

    def shake_hands(self, data: bytes) -> bytes:
        self._incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    def encrypted(self, *plain: bytes) -> bytes:
        for data in plain:
            self.tls.write(data)
        return self._outgoing.read()

    def decrypted(self, data: bytes) -> bytes:
        self._incoming.write(data)
        plain = b""
        try:
            while piece := self.tls.read(65536):
                plain += piece
        except ssl.SSLWantReadError:
            pass
        return plain

    def close_notify(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()


def connected(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[TlsLayer, Client]:
    layer, client = TlsLayer(shared_contexts().server), Client(version)
    to_client = b""
    while not layer.established:
        layer.receive(client.shake_hands(to_client))
        to_client = layer.take()
    client.shake_hands(to_client)
    return layer, client


def fed(layer: TlsLayer, data: bytes, cuts: Iterable[int]) -> bytes:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join(layer.receive(data[start:end]) for start, end in itertools.pairwise(places))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=5), st.lists(st.integers(0, 200_000), max_size=20))
@settings(max_examples=20, deadline=None)
def test_any_cut_gives_the_same_plaintext(version: ssl.TLSVersion, sizes: list[int], cuts: list[int]) -> None:
    layer, client = connected(version)
    plain = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    assert fed(layer, client.encrypted(*plain), cuts) == b"".join(plain)


def test_one_octet_at_a_time_from_the_first_flight_on() -> None:
    layer, client = TlsLayer(shared_contexts().server), Client()
    hello = client.shake_hands(b"")
    assert fed(layer, hello, range(len(hello))) == b""
    finished = client.shake_hands(layer.take()) + client.encrypted(b"a1 NOOP\r\n")
    assert fed(layer, finished, range(len(finished))) == b"a1 NOOP\r\n"
    assert layer.established


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 1_000_000])
def test_what_is_encrypted_arrives(size: int) -> None:
    layer, client = connected()
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert client.decrypted(layer.encrypt(data)) == data


def test_forged_record_is_an_error() -> None:
    layer, client = connected()
    record = bytearray(client.encrypted(b"a1 LOGOUT\r\n"))
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        layer.receive(bytes(record))
    assert layer.take()  # the alert


def test_plaintext_is_an_error() -> None:
    layer = TlsLayer(shared_contexts().server)
    with pytest.raises(ssl.SSLError):
        layer.receive(b"a1 LOGIN user password\r\n")
    assert not layer.established


def test_end_of_the_peers_stream_comes_behind_its_data_and_ours_may_go_on() -> None:
    layer, client = connected()
    assert layer.receive(client.encrypted(b"last") + client.close_notify()) == b"last"
    assert layer.ended
    assert client.decrypted(layer.encrypt(b"answer")) == b"answer"


def test_our_end_is_announced() -> None:
    layer, client = connected()
    goodbye = layer.encrypt(b"* BYE\r\n") + layer.end()
    assert client.decrypted(goodbye) == b"* BYE\r\n"
    assert client.tls.read() == b""  # a clean end, not SSLEOFError


def test_end_before_the_handshake_says_nothing() -> None:
    assert TlsLayer(shared_contexts().server).end() == b""
