"""Any cut of the stream gives the same events, and octets of a literal are never read as a command."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.wire.framer import (
    Command,
    CommandReady,
    Event,
    Framer,
    FramerLimits,
    Literal,
    LiteralAnnounced,
    LiteralData,
    StreamedLiteral,
)

LIMITS = FramerLimits(max_line=48, max_literal=24, max_literals=3, max_command=120)


def run(pieces: list[bytes]) -> list[Event]:
    """The events of a stream, its announcements answered by one fixed policy, neighbouring LiteralData joined."""
    framer = Framer(LIMITS)
    found: list[Event] = []
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            if isinstance(event, LiteralData) and found and isinstance(found[-1], LiteralData):
                event = LiteralData(found.pop().data + event.data)  # type: ignore[union-attr]
            found.append(event)
            if isinstance(event, LiteralAnnounced):
                if event.name == "APPEND":
                    framer.stream_literal()
                elif event.name == "REFUSE" or not event.within_limits:
                    framer.refuse_literal()
                else:
                    framer.accept_literal()
            elif isinstance(event, CommandReady) and event.command.name == "IDLE":
                framer.expect_line()
    return found


FRAGMENTS = st.sampled_from(
    (
        *(b"a", b" ", b"\r\n", b"\n", b"\r", b"\0", b'"', b"UID", b"\xff", b"x" * 30, b"x" * 60),
        *(b"a NOOP\r\n", b"b X {3+}\r\n", b"c REFUSE {9+}\r\n", b"d APPEND x {7+}\r\n", b"e IDLE\r\n"),
        *(b"f REFUSE {3}\r\n", b"g X {1+}\r\nx {1}\r\nx", b"{5}\r\n", b" {2}\r\n", b"{99+}\r\n", b"~{4+}\r\n"),
        *(b"{" + b"0" * 40 + b"3+}\r\n", b"{0+}\r\n"),
    )
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=4), max_size=25).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(stream=STREAMS, data=st.data())
def test_any_cut_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    whole = run([stream])
    assert run([stream[at : at + 1] for at in range(len(stream))]) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert run(pieces) == whole


TEXTS = st.text(alphabet='abcXYZ019 ()"', max_size=10).map(str.encode)
OCTETS = st.binary(max_size=14) | st.sampled_from([b"z LOGOUT\r\n", b"\r\nz LOGOUT\r\n", b"{10+}\r\n"])
COMMANDS = st.tuples(
    st.sampled_from(["X", "APPEND", "REFUSE", "UID FETCH"]),
    TEXTS,
    st.lists(st.tuples(OCTETS, st.booleans(), st.booleans(), TEXTS), max_size=3),
)


def is_sent(name: str, synchronising: bool) -> bool:
    """The client sends the octets: it was not told to wait, or the policy of `run` accepts."""
    return name != "REFUSE" or not synchronising


@settings(max_examples=150, deadline=None)
@given(commands=st.lists(COMMANDS, max_size=5))
def test_commands_come_back_and_nothing_else_does(
    commands: list[tuple[str, bytes, list[tuple[bytes, bool, bool, bytes]]]],
) -> None:
    stream, expected = b"", []
    for number, (name, words, literals) in enumerate(commands):
        text = b" " + words
        stream += b"t%d %b%b" % (number, name.encode(), text)
        parts: list[bytes | Literal | StreamedLiteral] = [text]
        for octets, synchronising, binary, behind in literals:
            stream += b"%b{%d%b}\r\n" % (b"~" * binary, len(octets), b"" if synchronising else b"+")
            if not is_sent(name, synchronising):
                break
            stream += octets + behind
            literal = StreamedLiteral(len(octets), binary) if name == "APPEND" else Literal(octets, binary)
            parts += [literal, behind]
        else:
            stream += b"\r\n"
        if name != "REFUSE" or not literals:
            expected.append(Command(f"t{number}", name, tuple(parts)))
    assert [event.command for event in run([stream]) if isinstance(event, CommandReady)] == expected
