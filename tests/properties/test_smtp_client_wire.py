"""Any cut gives the same replies and the same data; what is sent is what our own server reads."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.model.queue import OutboundEnvelope, QueueRecipient
from protocols.smtp.wire.body import Collector, DataReader
from protocols.smtp.wire.client_commands import mail_line, rcpt_line
from protocols.smtp.wire.client_data import DataWriter
from protocols.smtp.wire.client_extensions import Extensions, extensions
from protocols.smtp.wire.client_replies import ReplyError, ReplyReader
from protocols.smtp.wire.command import parse, parse_mail, parse_rcpt
from protocols.smtp.wire.reply import CommandError, Reply

FAST = settings(max_examples=100, deadline=None)
REPLIES = st.lists(
    st.sampled_from(
        [b"250-", b"250 ", b"550 5.1.1 ", b"421 ", b"x", b"\r\n", b"\r", b"\n", b"\x00", b"y" * 900, b"25"]
    ),
    max_size=40,
).map(b"".join)
MESSAGES = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\r\n.\r\n", b"\n.\n", b"ab", b"QUIT\r\n", b"\x00", b"\xff" * 30]),
    max_size=40,
).map(b"".join)
KNOWN = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "NOTIFY", "ORCPT"})
ALL = Extensions(dict.fromkeys(["SIZE", "8BITMIME", "SMTPUTF8", "DSN"], ""))


@st.composite
def cut(draw: st.DrawFn, octets: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    whole = draw(octets)
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12))), len(whole)]
    return whole, [whole[start:end] for start, end in pairwise(edges)]


def read(pieces: list[bytes]) -> list[Reply | str]:
    reader, found = ReplyReader(), []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (reply := reader.next()) is not None:
                found.append(reply)
        except ReplyError as error:
            return [*found, str(error)]
    return found


@FAST
@given(cut(REPLIES))
def test_replies_do_not_depend_on_the_cut(case: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = case
    assert read(pieces) == read([whole]) == read([whole[at : at + 1] for at in range(len(whole))])


@FAST
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=10))
def test_extensions_never_fail(lines: list[str]) -> None:
    offered = extensions(Reply(250, "", ("mx.example", *lines)))
    assert offered.size_limit >= 0
    assert all(mechanism == mechanism.upper() for mechanism in offered.mechanisms)


def written(pieces: list[bytes]) -> bytes:
    writer = DataWriter()
    return b"".join([*map(writer.feed, pieces), writer.finish()])


@FAST
@given(cut(MESSAGES))
def test_data_is_what_the_server_reads(case: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = case
    wire = written(pieces)
    assert wire == written([whole])
    collector = Collector(10_000)
    reader = DataReader(collector)
    # It ends where it ends, and nowhere before.
    assert reader.feed(wire) == len(wire)
    assert reader.done
    assert collector.fault is None
    lines = b"\n".join(whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")).replace(b"\n", b"\r\n")
    assert bytes(collector.take()) == (lines if not lines or lines.endswith(b"\r\n") else lines + b"\r\n")


@FAST
@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_command_is_one_line_whatever_it_is_made_of(address: str, envid: str, orcpt: str) -> None:
    for make in (
        lambda: mail_line(OutboundEnvelope(address, envid=envid), 1, True, ALL),
        lambda: rcpt_line(QueueRecipient(address, orcpt=orcpt), True, ALL),
    ):
        try:
            line = make()
        except CommandError:
            continue
        assert line.endswith(b"\r\n")
        assert line.count(b"\r") == line.count(b"\n") == 1
        assert line.count(b"<") == line.count(b">") == 1


LOCAL = st.text("abz09!#$%&'*+/=?^_`{|}~.-ü", min_size=1, max_size=20).filter(lambda text: ".." not in text)


@FAST
@given(LOCAL, st.sampled_from(["example.com", "a.b.example", "[192.0.2.1]"]), st.booleans())
def test_our_own_server_reads_our_commands(local: str, domain: str, eight: bool) -> None:
    address = f"{local}@{domain}"
    envelope = OutboundEnvelope(address, "8BITMIME" if eight else "7BIT", ret="FULL", envid="a+2Bb")
    command = parse(mail_line(envelope, 99, True, ALL)[:-2])
    mail = parse_mail(command.argument, KNOWN)
    assert (command.verb, mail.parameters.size, mail.parameters.smtputf8) == ("MAIL", 99, True)
    assert mail.parameters.body == envelope.body
    assert (
        parse_mail(parse(mail_line(OutboundEnvelope(mail.sender), 1, True, ALL)[:-2]).argument, KNOWN).sender
        == mail.sender
    )
    command = parse(rcpt_line(QueueRecipient(address, orcpt="rfc822;a+40b"), True, ALL)[:-2])
    assert parse_rcpt(command.argument, KNOWN, utf8=True).recipient == mail.sender
