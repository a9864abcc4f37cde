"""Any cut gives the same; what was stuffed comes back; values survive the way through octets."""

from contextlib import suppress
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.model import address
from protocols.smtp.wire.body import ChunkReader, Collector, DataReader, Fault
from protocols.smtp.wire.path import forward_path, reverse_path
from protocols.smtp.wire.receive import Receiver
from protocols.smtp.wire.reply import CommandError, reply

FAST = settings(max_examples=100, deadline=None)
NASTY = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\r\n.\r\n", b"\r\n.", b"ab", b"NOOP\r\n", b"\x00", b"\xff" * 30]),
    max_size=40,
).map(b"".join)


@st.composite
def cut(draw: st.DrawFn, octets: st.SearchStrategy[bytes] = NASTY) -> tuple[bytes, list[bytes]]:
    """Some octets and a way to cut them."""
    whole = draw(octets)
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    edges = [0, *places, len(whole)]
    return whole, [whole[start:end] for start, end in pairwise(edges)]


def one_by_one(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def read_lines(pieces: list[bytes]) -> list[bytes | str]:
    receiver, found = Receiver(16), []
    for piece in pieces:
        receiver.feed(piece)
        while True:
            try:
                line = receiver.line()
            except CommandError as error:
                found.append(str(error))
                continue
            if line is None:
                break
            found.append(line)
    return found


@FAST
@given(cut())
def test_lines_do_not_depend_on_the_cut(case: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = case
    assert read_lines(pieces) == read_lines([whole]) == read_lines(one_by_one(whole))


def read_data(pieces: list[bytes], refuse_bare: bool) -> tuple[bool, Fault | None, bytes, int, bytes]:
    collector, receiver = Collector(60, refuse_bare), Receiver()
    reader, rest = DataReader(collector), b""
    for piece in pieces:
        if reader.done:
            rest += piece
        else:
            receiver.feed(piece)
            if receiver.read_into(reader):
                rest = receiver._buffer[receiver._position :]
    if not reader.done:
        return False, None, b"", 0, b""
    return True, collector.fault, bytes(collector.take()), collector.size, rest


@FAST
@given(cut(), st.booleans())
def test_data_do_not_depend_on_the_cut(case: tuple[bytes, list[bytes]], refuse_bare: bool) -> None:
    whole, pieces = case
    expected = read_data([whole], refuse_bare)
    assert read_data(pieces, refuse_bare) == expected
    assert read_data(one_by_one(whole), refuse_bare) == expected


@FAST
@given(NASTY)
def test_stuffed_octets_come_back(message: bytes) -> None:
    message += b"\r\n"
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    collector, reader = Collector(1 << 20, refuse_bare=False), None
    reader = DataReader(collector)
    assert reader.feed(stuffed + b".\r\nREST") == len(stuffed) + 3
    assert bytes(collector.take()) == message


def by_lines(octets: bytes) -> tuple[bytes, bytes] | None:
    """DATA written a second time, straight from RFC 5321 §4.5.2: line by line."""
    message = b""
    while b"\r\n" in octets:
        line, octets = octets.split(b"\r\n", 1)
        if line == b".":
            return message, octets
        message += line.removeprefix(b".") + b"\r\n"
    return None


@FAST
@given(NASTY)
def test_data_agree_with_the_rule_line_by_line(octets: bytes) -> None:
    collector = Collector(1 << 20, refuse_bare=False)
    reader = DataReader(collector)
    end = reader.feed(octets)
    expected = by_lines(octets)
    assert reader.done == (expected is not None)
    if expected is not None:
        assert (bytes(collector.take()), octets[end:]) == expected


@FAST
@given(cut(), st.booleans())
def test_chunks_do_not_depend_on_the_cut(case: tuple[bytes, list[bytes]], refuse_bare: bool) -> None:
    whole, pieces = case
    collector, other = Collector(100, refuse_bare), Collector(100, refuse_bare)
    reader = ChunkReader(collector, len(whole))
    for piece in pieces:
        reader.feed(piece)
    ChunkReader(other, len(whole)).feed(whole)
    assert reader.done
    assert (collector.fault, collector.take(), collector.size) == (other.fault, other.take(), other.size)


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)


@FAST
@given(PRINTABLE, st.sampled_from(["example.com", "[127.0.0.1]", "[IPv6:::1]", "bücher.example"]))
def test_any_printable_local_part_survives_quoting(local: str, domain: str) -> None:
    written = address.join(local, domain)
    assert address.split(written) == (local, domain)
    assert reverse_path(f"<{written}> SIZE=1") == (written, " SIZE=1")
    assert forward_path(f"<{written}>") == (written, "")


@FAST
@given(st.text(max_size=60))
def test_paths_raise_only_command_errors(text: str) -> None:
    for parse in (reverse_path, forward_path):
        with suppress(CommandError):
            mailbox, rest = parse(text)
            assert text.endswith(rest)
            assert not any(ord(character) < 32 for character in mailbox)


@FAST
@given(st.text(max_size=700))
def test_no_text_adds_a_line_to_a_reply(text: str) -> None:
    written = reply(550, "5.1.1", text, text).to_bytes()
    first, second, nothing = written.split(b"\r\n")
    assert (first[:10], second[:10], nothing) == (b"550-5.1.1 ", b"550 5.1.1 ", b"")
    assert len(first) <= 510
    assert len(second) <= 510
