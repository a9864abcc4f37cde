"""The SMTP client's octets: replies and offers in, commands and data out."""

import pytest

from duckmail.model.address import ascii_domain
from duckmail.model.queue import NOTIFY_DEFAULT, Notify, OutboundEnvelope, QueueRecipient
from protocols.smtp.wire.client_commands import mail_line, needs_utf8, plain, rcpt_line
from protocols.smtp.wire.client_data import DataWriter
from protocols.smtp.wire.client_extensions import Extensions, extensions
from protocols.smtp.wire.client_replies import MAX_LINE, MAX_LINES, ReplyError, ReplyReader, enhanced, words
from protocols.smtp.wire.reply import CommandError, Reply

ALL = Extensions(dict.fromkeys(["SIZE", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS", "PIPELINING"], ""))
NONE = Extensions()


def read(octets: bytes) -> Reply | None:
    reader = ReplyReader()
    reader.feed(octets)
    return reader.next()


@pytest.mark.parametrize(
    ("octets", "code", "status", "lines"),
    [
        pytest.param(b"250 OK\r\n", 250, "", ("OK",), id="one-line"),
        pytest.param(b"250\r\n", 250, "", ("",), id="no-text"),
        pytest.param(b"250 \r\n", 250, "", ("",), id="empty-text"),
        pytest.param(b"250-a\r\n250-\r\n250 b\r\n", 250, "", ("a", "", "b"), id="several-lines"),
        pytest.param(b"250-a\r\n250\r\n", 250, "", ("a", ""), id="last-line-without-text"),
        pytest.param(b"250 OK\n", 250, "", ("OK",), id="bare-lf-ends-a-line"),
        pytest.param(b"250 2.1.5 fine\r\n", 250, "2.1.5", ("fine",), id="enhanced"),
        pytest.param(b"550 5.1.1\r\n", 550, "5.1.1", ("",), id="enhanced-without-text"),
        pytest.param(b"550-5.1.1 no\r\n550 5.1.1 such\r\n", 550, "5.1.1", ("no", "such"), id="enhanced-on-each-line"),
        pytest.param(b"550-no\r\n550 5.1.1 such\r\n", 550, "5.1.1", ("no", "such"), id="enhanced-on-the-last-line"),
        pytest.param(b"450 5.1.1 x\r\n", 450, "", ("5.1.1 x",), id="enhanced-of-another-class-is-text"),
        pytest.param(b"550 5.1.1234 x\r\n", 550, "", ("5.1.1234 x",), id="no-enhanced-code"),
        pytest.param(b"550 5.1.1x\r\n", 550, "", ("5.1.1x",), id="no-space-behind-it"),
        pytest.param("550 für\r\n".encode(), 550, "", ("für",), id="utf-8"),
        pytest.param(b"550 f\xfcr\x07\r\n", 550, "", ("f\ufffdr?",), id="neither-utf-8-nor-printable"),
        pytest.param(b"550 a\rb\r\n", 550, "", ("a?b",), id="bare-cr-is-text"),
    ],
)
def test_replies(octets: bytes, code: int, status: str, lines: tuple[str, ...]) -> None:
    assert read(octets) == Reply(code, status, lines)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"\r\n", id="empty-line"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="another-protocol"),
        pytest.param(b"25 OK\r\n", id="two-digits"),
        pytest.param(b"2500 OK\r\n", id="four-digits"),
        pytest.param(b"150 OK\r\n", id="first-digit-too-low"),
        pytest.param(b"650 OK\r\n", id="first-digit-too-high"),
        pytest.param(b"250_OK\r\n", id="wrong-separator"),
        pytest.param("\uff12\uff15\uff10 OK\r\n".encode(), id="other-digits"),
        pytest.param(b"250-a\r\n550 b\r\n", id="two-codes"),
        pytest.param(b"250 a\x00b\r\n", id="nul"),
        pytest.param(b"250 " + b"x" * MAX_LINE, id="endless-line"),
        pytest.param(b"250 " + b"x" * MAX_LINE + b"\r\n", id="line-too-long"),
        pytest.param(b"250-x\r\n" * (MAX_LINES + 1), id="endless-lines"),
    ],
)
def test_what_is_no_reply(octets: bytes) -> None:
    with pytest.raises(ReplyError):
        read(octets)


def test_a_reply_may_be_as_long_as_the_limits() -> None:
    line = b"250-" + b"x" * (MAX_LINE - 6) + b"\r\n"
    reply = read(line * (MAX_LINES - 1) + b"250 last\r\n")
    assert reply is not None
    assert len(reply.lines) == MAX_LINES
    assert len(words(reply)) == 1000


def test_replies_come_one_by_one() -> None:
    reader = ReplyReader()
    reader.feed(b"250 one\r\n250-two\r\n250")
    assert reader.next() == Reply(250, "", ("one",))
    assert reader.next() is None
    assert not reader.empty
    reader.feed(b" three\r\n")
    assert reader.next() == Reply(250, "", ("two", "three"))
    assert reader.next() is None
    assert reader.empty


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply(250, "", ("",)), "2.0.0"), (Reply(451, "", ("",)), "4.0.0"), (Reply(5, "5.1.1", ()), "5.1.1")],
)
def test_every_reply_has_a_status(reply: Reply, status: str) -> None:
    assert enhanced(reply) == status


def test_extensions() -> None:
    offered = extensions(
        Reply(250, "", ("mx.example SIZE 1", "pipelining", "SIZE 1000", "AUTH PLAIN", "AUTH=LOGIN", "X-Y a b", "?", ""))
    )
    assert offered.offers("PIPELINING")
    assert not offered.offers("STARTTLS")
    assert offered.size_limit == 1000
    assert offered.mechanisms == {"PLAIN", "LOGIN"}
    assert set(offered.keywords) == {"PIPELINING", "SIZE", "AUTH", "X-Y"}


@pytest.mark.parametrize("size", ["", "0", "-1", "lots", "9" * 21, "\uff11\uff10"])
def test_no_size_limit(size: str) -> None:
    assert Extensions({"SIZE": size}).size_limit == 0


@pytest.mark.parametrize(
    ("envelope", "utf8", "offered", "line"),
    [
        pytest.param(OutboundEnvelope("a@b.example"), False, NONE, "<a@b.example>", id="nothing-offered"),
        pytest.param(OutboundEnvelope(""), False, ALL, "<> SIZE=7", id="null-path"),
        pytest.param(
            OutboundEnvelope("a@b.example", "8BITMIME", ret="HDRS", envid="a+2Bb"),
            False,
            ALL,
            "<a@b.example> SIZE=7 BODY=8BITMIME RET=HDRS ENVID=a+2Bb",
            id="all-that-it-has",
        ),
        pytest.param(
            OutboundEnvelope("a@b.example", "8BITMIME", ret="HDRS", envid="x"),
            False,
            NONE,
            "<a@b.example>",
            id="unoffered",
        ),
        pytest.param(OutboundEnvelope("ü@b.example"), True, ALL, "<ü@b.example> SIZE=7 SMTPUTF8", id="smtputf8"),
        pytest.param(OutboundEnvelope("a@bücher.example"), False, NONE, "<a@xn--bcher-kva.example>", id="u-label"),
        pytest.param(OutboundEnvelope("ü@bücher.example"), True, NONE, "<ü@bücher.example> SMTPUTF8", id="all-utf8"),
        pytest.param(
            OutboundEnvelope("a@[192.0.2.1]", requiretls=True), False, NONE, "<a@[192.0.2.1]> REQUIRETLS", id="l"
        ),
    ],
)
def test_mail(envelope: OutboundEnvelope, utf8: bool, offered: Extensions, line: str) -> None:
    assert mail_line(envelope, 7, utf8, offered) == f"MAIL FROM:{line}\r\n".encode()


@pytest.mark.parametrize(
    ("recipient", "offered", "line"),
    [
        pytest.param(QueueRecipient("c@d.example", Notify.SUCCESS, "rfc822;c@d"), NONE, "<c@d.example>", id="no-dsn"),
        pytest.param(QueueRecipient("c@d.example"), ALL, "<c@d.example>", id="default-is-not-said"),
        pytest.param(QueueRecipient("c@d.example", Notify.NEVER), ALL, "<c@d.example> NOTIFY=NEVER", id="never"),
        pytest.param(
            QueueRecipient("c@d.example", NOTIFY_DEFAULT | Notify.SUCCESS, "rfc822;c+40d"),
            ALL,
            "<c@d.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;c+40d",
            id="all",
        ),
        pytest.param(
            QueueRecipient("c@d.example", orcpt="utf-8;ü@d"),
            ALL,
            "<c@d.example> ORCPT=utf-8;\\x{FC}@d",
            id="utf-8-orcpt",
        ),
        pytest.param(
            QueueRecipient("c@d.example", orcpt="utf-8;" + "ü" * 200), ALL, "<c@d.example>", id="utf-8-orcpt-too-long"
        ),
        pytest.param(QueueRecipient('"c@e"@d.example'), ALL, '<"c@e"@d.example>', id="quoted"),
    ],
)
def test_rcpt(recipient: QueueRecipient, offered: Extensions, line: str) -> None:
    assert rcpt_line(recipient, False, offered) == f"RCPT TO:{line}\r\n".encode()


BAD_ADDRESSES = [
    pytest.param("a@b.example>\r\nRCPT TO:<x@y", id="command-behind-it"),
    pytest.param("a@b.example\r\nDATA", id="line-end"),
    pytest.param("a@b.example\n", id="lf"),
    pytest.param("a@b.example\r", id="cr"),
    pytest.param("a@b.example> SIZE=1", id="parameter-behind-it"),
    pytest.param("a@b.example\x00", id="nul"),
    pytest.param("a\x00@b.example", id="nul-within"),
    pytest.param('"a b"@c.example', id="quoted-space"),
    pytest.param('"a>b"@c.example', id="quoted-bracket"),
    pytest.param("a b@c.example", id="space"),
    pytest.param("<a@b.example>", id="brackets"),
    pytest.param("a", id="no-domain"),
    pytest.param("a@", id="empty-domain"),
    pytest.param("@b.example", id="empty-local-part"),
    pytest.param("a@b..example", id="empty-label"),
    pytest.param("a@" + "x" * 64 + ".example", id="label-too-long"),
    pytest.param("a@" + "b." * 126 + "example", id="domain-too-long"),
    pytest.param("a" * 1001 + "@b.example", id="too-long"),
    pytest.param("a\u2028@b.example", id="line-separator"),
    pytest.param("a@b\u0085.example", id="c1-control"),
    pytest.param("a\ud800@b.example", id="lone-surrogate"),
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_bad_addresses_become_no_command(address: str) -> None:
    with pytest.raises(CommandError) as sender:
        mail_line(OutboundEnvelope(address), 1, True, ALL)
    with pytest.raises(CommandError) as recipient:
        rcpt_line(QueueRecipient(address), True, ALL)
    assert (sender.value.reply.status, recipient.value.reply.status) == ("5.1.7", "5.1.3")
    assert {sender.value.reply.code, recipient.value.reply.code} <= {501, 553}


@pytest.mark.parametrize(
    "text",
    [
        "x\r\nRCPT TO:<c@d>",
        "x y",
        "x RET=FULL",
        "rfc822;x NOTIFY=NEVER",
        "a=b",
        "x\n",
        "x" * 501,
        "rfc822;a b",
        "rfc822;\r\n",
        "rfc822;a+0D+0Ab",
    ],
)
def test_bad_parameters_become_no_command(text: str) -> None:
    with pytest.raises(CommandError):
        mail_line(OutboundEnvelope("a@b.example", envid=text), 1, False, ALL)
    with pytest.raises(CommandError):
        mail_line(OutboundEnvelope("a@b.example", ret=text), 1, False, ALL)
    with pytest.raises(CommandError):
        rcpt_line(QueueRecipient("c@d.example", orcpt=text), False, ALL)


@pytest.mark.parametrize(
    ("address", "needs"), [("a@b.example", False), ("a@bücher.example", False), ("ü@b.example", True), ("", False)]
)
def test_who_needs_smtputf8(address: str, needs: bool) -> None:
    assert needs_utf8(address) is needs


def test_an_internationalized_recipient_needs_smtputf8() -> None:
    with pytest.raises(CommandError, match=r"5\.6\.7"):
        rcpt_line(QueueRecipient("ü@d.example"), False, ALL)


def test_plain() -> None:
    assert plain("joe", "söcret") == "AGpvZQBzw7ZjcmV0"


def written(*pieces: bytes) -> bytes:
    writer = DataWriter()
    return b"".join([*map(writer.feed, pieces), writer.finish()])


@pytest.mark.parametrize(
    ("octets", "wire"),
    [
        pytest.param(b"", b".\r\n", id="empty"),
        pytest.param(b"a\r\n", b"a\r\n.\r\n", id="a-line"),
        pytest.param(b"a", b"a\r\n.\r\n", id="last-line-without-end"),
        pytest.param(b".", b"..\r\n.\r\n", id="a-dot"),
        pytest.param(b".\r\n", b"..\r\n.\r\n", id="a-line-with-a-dot"),
        pytest.param(b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n", id="end-of-data-within"),
        pytest.param(b"..\r\n.a.\r\n", b"...\r\n..a.\r\n.\r\n", id="dots"),
        pytest.param(b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n", id="lf-dot-lf"),
        pytest.param(b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n", id="cr-dot-cr"),
        pytest.param(b"a\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n", id="lf-dot-crlf"),
        pytest.param(b"a\r\n.\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n", id="crlf-dot-lf"),
        pytest.param(b"a\r\r\n.\r\n", b"a\r\n\r\n..\r\n.\r\n", id="cr-crlf-dot-crlf"),
        pytest.param(b"a\r", b"a\r\n.\r\n", id="cr-at-the-end"),
        pytest.param(b"a\n\r", b"a\r\n\r\n.\r\n", id="lf-cr-at-the-end"),
        pytest.param(b"\x00\xff", b"\x00\xff\r\n.\r\n", id="any-octet"),
    ],
)
def test_data(octets: bytes, wire: bytes) -> None:
    assert written(octets) == wire
    assert written(*(octets[at : at + 1] for at in range(len(octets)))) == wire


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("Example.com.", "Example.com"),
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("_dmarc.example", "_dmarc.example"),
    ],
)
def test_domains_in_dns(domain: str, name: str) -> None:
    assert ascii_domain(domain) == name


@pytest.mark.parametrize("domain", ["", ".", "a..b", "-a.example", "a-.example", "a b", "a\n", "ü" * 60, "[192.0.2.1]"])
def test_what_is_no_domain(domain: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        ascii_domain(domain)
