"""Fuzz target: the framer takes any octets in any cut, gives the same events, and keeps within its limits."""

from protocols.imap.wire.framer import (
    BEFORE_LOGIN,
    Command,
    CommandReady,
    Event,
    Framer,
    FramerLimits,
    Literal,
    LiteralAnnounced,
    LiteralData,
)

LIMITS = (BEFORE_LOGIN, FramerLimits(max_line=64, max_literal=32, max_literals=2, max_command=128))

SEEDS: list[bytes] = [
    b"\0a LOGIN user pass\r\n",
    b"\1a LOGIN {4}\r\nuser {4+}\r\npass\r\n",
    b"\2a APPEND INBOX (\\Seen) {11+}\r\nSubject: x\r\n\r\n",
    b"\3a APPEND INBOX ~{3}\r\n\0\1\2\r\nb NOOP\r\n",
    b"\4a X {99999999999999999999+}\r\n",
    b"\5a IDLE\r\nDONE\r\nb UID FETCH 1:* (FLAGS)\r\n",
    b"\6a NOOP\nb NOOP\r\nc NO\rOP\r\nd \0\r\n",
    b"\7a REFUSE {5+}\r\nb X\r\n {3+}\r\n\r\n\r\nc NOOP\r\n",
    b"\1a X " + b"x" * 100 + b"{5+}\r\nb X\r\n\r\n",
]


def target(data: bytes) -> None:
    """The first octet chooses limits and the size of pieces."""
    limits = LIMITS[data[:1] < b"\4"]
    step = data[0] % 7 + 1 if data else 1
    stream = data[1:]
    whole = run(limits, [stream])
    assert whole == run(limits, [stream[at : at + step] for at in range(0, len(stream), step)])
    for event in whole:
        if isinstance(event, CommandReady):
            check(event.command, limits)


def check(command: Command, limits: FramerLimits) -> None:
    """What the parser relies on: text and literals in turn, text without line ends and NUL, all within the limits."""
    assert len(command.parts) % 2 == 1
    size = 0
    for index, part in enumerate(command.parts):
        assert isinstance(part, bytes) == (index % 2 == 0)
        if isinstance(part, bytes):
            assert not set(part) & set(b"\r\n\0")
            size += len(part)
        elif isinstance(part, Literal):
            assert len(part.data) <= limits.max_literal
            size += len(part.data)
    assert size <= limits.max_command
    assert len(command.parts) // 2 <= limits.max_literals


def run(limits: FramerLimits, pieces: list[bytes]) -> list[Event]:
    """The events, announcements answered by the command's name, neighbouring LiteralData joined."""
    framer = Framer(limits)
    found: list[Event] = []
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            last = found[-1] if found else None
            if isinstance(event, LiteralData) and isinstance(last, LiteralData):
                found[-1] = LiteralData(last.data + event.data)
                continue
            found.append(event)
            if isinstance(event, LiteralAnnounced):
                answer(framer, event)
            elif isinstance(event, CommandReady) and event.command.name == "IDLE":
                framer.expect_line()
    return found


def answer(framer: Framer, event: LiteralAnnounced) -> None:
    if event.name == "APPEND":
        framer.stream_literal()
    elif event.name == "REFUSE" or not event.within_limits:
        framer.refuse_literal()
    else:
        framer.accept_literal()
