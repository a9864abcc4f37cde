"""Fuzz target: PROXY protocol headers, versions 1 and 2."""

from protocols.wire.proxy import LONGEST, ProxyError, parse

SEEDS: list[bytes] = [
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 143\r\nrest",
    b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc63d\x01\x9c@\x00\x8frest",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" + bytes(36),
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + b"/run/a".ljust(216, b"\0"),
    b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
]


def target(data: bytes) -> None:
    """Only ProxyError is raised; a header lies within the data and the limit; an undecided text is a short one."""
    try:
        header = parse(data)
    except ProxyError:
        return
    if header is None:
        assert len(data) < LONGEST
        return
    assert 0 < header.length <= min(len(data), LONGEST)
    assert parse(data[: header.length]) == header
    assert parse(data[: header.length - 1]) is None
    if header.source is not None:
        assert 0 <= header.source.port <= 65535
