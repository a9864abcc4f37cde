"""Fuzz target: what a server sends to our client; any cut gives the same, and only documented errors."""

from protocols.smtp.wire.client_data import DataWriter
from protocols.smtp.wire.client_extensions import extensions
from protocols.smtp.wire.client_replies import MAX_LINE, MAX_LINES, ReplyError, ReplyReader, enhanced, words
from protocols.smtp.wire.reply import Reply

SEEDS: list[bytes] = [
    b"220 mx.example ESMTP\r\n250-mx.example\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n",
    b"250 2.1.0 OK\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n354 go on\r\n250 2.0.0 queued\r\n",
    b"421 4.3.2 bye\r\n",
    b"250-a\r\n550 b\r\n",
    b"250 a\nb\r\n\x00",
]
WORDS: list[bytes] = [b"250-", b"250 ", b"250-AUTH=", b"354", b"5.7.1 ", b"\r\n", b"\n", b"\r", b"\x00", b"x" * 4096]


def target(data: bytes) -> None:
    whole = replies([data])
    assert replies([data[at : at + 1] for at in range(len(data))]) == whole
    assert replies([data[at : at + 7] for at in range(0, len(data), 7)]) == whole
    middle = len(data) // 2
    assert written([data[:middle], data[middle:]]) == written([data])


def replies(pieces: list[bytes]) -> list[Reply | str]:
    reader = ReplyReader()
    seen: list[Reply | str] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (reply := reader.next()) is not None:
                check(reply)
                seen.append(reply)
        except ReplyError as error:
            return [*seen, str(error)]
        assert len(reader._buffer) < MAX_LINE
    return seen


def check(reply: Reply) -> None:
    assert 200 <= reply.code < 600
    assert len(reply.lines) <= MAX_LINES
    assert enhanced(reply)[0] == str(reply.code)[0]
    assert words(reply).isprintable() or " " in words(reply) or not words(reply).isascii()
    assert not {"\r", "\n", "\0"} & set(words(reply))
    offered = extensions(reply)
    assert 0 <= offered.size_limit < 10**20
    assert offered.mechanisms is not None


def written(pieces: list[bytes]) -> bytes:
    writer = DataWriter()
    octets = b"".join([*map(writer.feed, pieces), writer.finish()])
    assert octets.endswith(b".\r\n")
    # The end stands at the end and nowhere else, however a server reads lines.
    assert (b"\r\n" + octets).index(b"\r\n.\r\n") == len(octets) - 3
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    return octets
