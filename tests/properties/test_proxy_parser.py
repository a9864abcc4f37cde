"""PROXY headers: a table of right and wrong ones, and that no cut and no rest behind the header changes anything."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.wire.proxy import LONGEST, MAX_V1, MAX_V2, Header, ProxyError, Source, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(version_command: int, family: int, addresses: bytes, length: int | None = None) -> bytes:
    return (
        SIGNATURE
        + struct.pack("!BBH", version_command, family, len(addresses) if length is None else length)
        + addresses
    )


V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 40000, 143)
V6 = bytes.fromhex("20010db8000000000000000000000001" * 2) + struct.pack("!HH", 40000, 143)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
LONGEST_V1 = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(MAX_V1 - 2, b"x") + b"\r\n"

RIGHT = [
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 143\r\n", Source("192.0.2.7", 40000), id="v1-tcp4"),
    pytest.param(b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", Source("0.0.0.0", 0), id="v1-extremes"),
    pytest.param(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Source("2001:db8::1", 1), id="v1-tcp6"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1-unknown"),
    pytest.param(LONGEST_V1, None, id="v1-longest"),
    pytest.param(v2(0x21, 0x11, V4), Source("192.0.2.7", 40000), id="v2-tcp4"),
    pytest.param(v2(0x21, 0x11, V4 + b"\x04\x00\x01x"), Source("192.0.2.7", 40000), id="v2-tlv"),
    pytest.param(v2(0x21, 0x11, V4.ljust(MAX_V2 - 16, b"x")), Source("192.0.2.7", 40000), id="v2-longest"),
    pytest.param(v2(0x21, 0x21, V6), Source("2001:db8::1", 40000), id="v2-tcp6"),
    pytest.param(v2(0x21, 0x31, UNIX), Source("/run/client", 0, unix=True), id="v2-unix"),
    pytest.param(v2(0x21, 0x00, b""), None, id="v2-unspec"),
    pytest.param(v2(0x20, 0x00, b""), None, id="v2-local"),
    pytest.param(v2(0x20, 0x11, V4), None, id="v2-local-ignores-addresses"),
    pytest.param(v2(0x20, 0xFF, b"x"), None, id="v2-local-ignores-family"),
]

WRONG = [
    pytest.param(b"EHLO", id="smtp"),
    pytest.param(b"\x16\x03\x01", id="client-hello"),
    pytest.param(b"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", id="v1-two-spaces"),
    pytest.param(b"proxy UNKNOWN\r\n", id="v1-lower-case"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", id="v1-seven-words"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", id="v1-no-port"),
    pytest.param(b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", id="v1-family"),
    pytest.param(b"PROXY \r\n", id="v1-empty"),
    pytest.param(b"PROXY TCP4 ::1 ::1 1 1\r\n", id="v1-ipv6-as-ipv4"),
    pytest.param(b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", id="v1-ipv4-as-ipv6"),
    pytest.param(b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", id="v1-leading-zero-address"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.256 1 1\r\n", id="v1-bad-destination"),
    pytest.param(b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", id="v1-zone"),
    pytest.param(b"PROXY TCP6 \xd9\xa1::1 ::1 1 1\r\n", id="v1-not-ascii"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", id="v1-leading-zero-port"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", id="v1-port-too-large"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", id="v1-port-sign"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n", id="v1-bare-lf"),
    pytest.param(b"PROXY UNKNOWN".ljust(MAX_V1 - 1, b"x") + b"\r\n", id="v1-one-too-long"),
    pytest.param(b"PROXY ".ljust(MAX_V1, b"x"), id="v1-endless"),
    pytest.param(v2(0x11, 0x11, V4), id="v2-version-1"),
    pytest.param(v2(0x22, 0x11, V4), id="v2-command"),
    pytest.param(v2(0x21, 0x12, V4), id="v2-datagram"),
    pytest.param(v2(0x21, 0x41, V4), id="v2-family"),
    pytest.param(v2(0x21, 0x11, V4[:-1]), id="v2-addresses-cut"),
    pytest.param(v2(0x21, 0x21, V4), id="v2-ipv6-too-short"),
    pytest.param(v2(0x21, 0x11, V4, length=MAX_V2 - 15), id="v2-one-too-long"),
    pytest.param(SIGNATURE[:-1] + b"\r", id="v2-signature"),
]


@pytest.mark.parametrize(("data", "source"), RIGHT)
def test_right(data: bytes, source: Source | None) -> None:
    assert parse(data) == Header(len(data), source)


@pytest.mark.parametrize(("data", "source"), RIGHT)
def test_any_cut_is_incomplete_and_any_rest_is_left_alone(data: bytes, source: Source | None) -> None:
    for end in range(len(data)):
        assert parse(data[:end]) is None, end
    for rest in (b"x", b"\r\n", data, b"\x16\x03\x01" + bytes(LONGEST)):
        assert parse(data + rest) == Header(len(data), source)


@pytest.mark.parametrize("data", WRONG)
def test_wrong(data: bytes) -> None:
    with pytest.raises(ProxyError):
        parse(data)


def _outcome(data: bytes) -> Header | str | None:
    try:
        return parse(data)
    except ProxyError:
        return "wrong"


_near = st.one_of(
    st.binary(max_size=600),
    st.sampled_from([value for param in [*RIGHT, *WRONG] for value in param.values[:1]]).flatmap(
        lambda data: st.tuples(st.integers(0, len(data)), st.binary(max_size=600)).map(
            lambda change: data[: change[0]] + change[1] + data[change[0] + 1 :]
        )
    ),
)


@given(_near)
@settings(max_examples=100, deadline=None)
def test_what_a_prefix_decides_stays_decided(data: bytes) -> None:
    """Once right or wrong, more octets change nothing; and it is decided within the longest header."""
    decided: Header | str | None = None
    for end in range(len(data) + 1):
        outcome = _outcome(data[:end])
        if decided is not None:
            assert outcome == decided
        decided = outcome
        if end >= LONGEST:
            assert outcome is not None
        if isinstance(outcome, Header):
            assert 0 < outcome.length <= end <= LONGEST
            break


@given(st.ip_addresses(), st.integers(0, 65535))
@settings(max_examples=50, deadline=None)
def test_both_versions_name_the_same_source(address: object, port: int) -> None:
    six = ":" in str(address)
    packed = address.packed  # type: ignore[attr-defined]
    line = f"PROXY TCP{6 if six else 4} {address} {address} {port} 1\r\n".encode()
    binary = v2(0x21, 0x21 if six else 0x11, packed + packed + struct.pack("!HH", port, 1))
    first, second = parse(line), parse(binary)
    assert first is not None
    assert second is not None
    assert first.source == second.source == Source(str(address), port)
