"""Fuzz target: POP3 lines and commands in, the same octets as a message out; any cut, and only documented errors."""

from protocols.pop3.wire.command import BadCommand, Command, parse, parse_number, parse_top
from protocols.pop3.wire.lines import MAX_LINE, Lines
from protocols.pop3.wire.response import Stuffing, status

LIMITS = (MAX_LINE, 40)  # of commands, and of the line behind AUTH

SEEDS: list[bytes] = [
    b"CAPA\r\nUSER anna\r\nPASS two  words \r\nSTAT\r\nLIST\r\nQUIT\r\n",
    b"STLS\r\nUIDL 1\r\nRETR 00001\r\nTOP 1 10\r\nDELE 4294967296\r\nRSET\r\n",
    b"AUTH PLAIN\r\nAGFubmEAc2VjcmV0\r\nAUTH PLAIN =\r\n*\r\nNOOP\r\n",
    b"UTF8\r\nUSER k\xc3\xa4the\r\nPASS \xff\r\nAPOP anna c4c9334b\r\n",
    b"STAT\nLIST\r\nRETR\r1\r\n.\r\n..\r\n\n.\n\r.\r",
    b"Subject: x\r\n\r\n.\r\n..\r\n.x\n.\r\n\n..\r\n",
]
WORDS: list[bytes] = [
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.",
    b"\n.",
    b"AUTH PLAIN\r\n",
    b"TOP 1 1\r\n",
    b"9" * 11,
    b"x" * 260,
]


def target(data: bytes) -> None:
    middle = len(data) // 2
    cuts = [
        [data],
        [data[at : at + 1] for at in range(len(data))],
        [data[:middle], data[middle:]],
        [data[at : at + 7] for at in range(0, len(data), 7)],
    ]
    seen, *others = [dialogue(pieces) for pieces in cuts]
    assert all(other == seen for other in others)
    sent, *others = [response(pieces) for pieces in cuts]
    assert all(other == sent for other in others)
    check_response(data, sent)


def dialogue(pieces: list[bytes]) -> list[object]:
    """What a session would see, whatever it answers."""
    lines = Lines()
    seen: list[object] = []
    limit = LIMITS[0]
    for piece in pieces:
        lines.feed(piece)
        while True:
            try:
                line = lines.next(limit)
                if line is None:
                    break
                assert len(line) + 2 <= limit
                assert not set(line) & set(b"\r\n")
                command = parse(line)
                limit = LIMITS[command.keyword == "AUTH"]
                seen.append((command, numbers(command)))
            except BadCommand as error:
                limit = LIMITS[0]
                seen.append(str(error))
        assert len(lines._buffer) < max(limit, 64)
    return seen


def numbers(command: Command) -> object:
    """What the commands with numbers make of the argument."""
    assert command.keyword.isascii()
    assert command.keyword.isalnum()
    assert all(character >= " " for character in command.argument)
    if command.keyword == "TOP":
        number, count = parse_top(command.argument)
        assert parse_top(f"{number} {count}") == (number, count)
        return number, count
    if command.keyword in ("LIST", "UIDL", "RETR", "DELE") and command.argument:
        number = parse_number(command.argument)
        assert number < 10**10
        return number
    line = status(False, command.argument, "AUTH")
    assert line.count(b"\n") == 1
    assert len(line) <= 512
    return None


def response(pieces: list[bytes]) -> bytes:
    stuffing = Stuffing()
    return b"".join(stuffing.feed(piece) for piece in pieces) + stuffing.end()


def check_response(message: bytes, sent: bytes) -> None:
    """Whether a client goes by CRLF or by LF, the response ends where it ends, and LF gives the message exactly."""
    assert (b"\r\n" + sent).find(b"\r\n.\r\n") + 3 == len(sent)
    lines = sent.split(b"\n")
    assert lines.index(b".\r") == len(lines) - 2
    unstuffed = b"\n".join(line.removeprefix(b".") for line in lines[:-2])
    whole = message if not message or message.endswith(b"\r\n") else message + b"\r\n"
    assert unstuffed + b"\n" * bool(message) == whole
