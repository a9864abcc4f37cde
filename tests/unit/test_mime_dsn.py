"""Reports, octet for octet, and read by the standard library."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest

from duckmail.mime.dsn import LONGEST_HEADER, Action, Built, Entry, Report, build
from duckmail.mime.dsnwords import WORDS, words

ARRIVED = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
HEADER = b"Received: by mx\r\nSubject: hello\r\n\r\n"

REFUSED = Entry(
    "bob@example.com",
    Action.FAILED,
    "5.1.1",
    "550 5.1.1 No such user",
    original="rfc822;Bob+2Bshop@example.com",
    host="mx.example.com",
    tried=NOW,
)


def report(*entries: Entry, **more: object) -> Report:
    named = {"original": HEADER, "unique": "u1", **more}
    return Report("mail.example.org", "anna@example.org", entries, ARRIVED, NOW, **named)  # type: ignore[arg-type]


def parts(built: Built) -> list[tuple[str, bytes]]:
    """Type and octets of the parts."""
    parsed = message_from_bytes(built.octets, policy=policy.SMTP)
    boundary = parsed.get_boundary()
    assert boundary is not None
    pieces = built.octets.partition(b"\r\n\r\n")[2].split(f"--{boundary}".encode())[1:-1]
    found = []
    for piece in pieces:
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append((head.decode().partition(":")[2].partition(";")[0].partition("\r")[0].strip(), body[:-2]))
    return found


def test_a_refusal() -> None:
    built = build(report(REFUSED, envid="id+2B7"))
    assert (built.body, built.smtputf8) == ("7BIT", False)
    assert built.octets.decode().split("\r\n") == [
        "From: Mail Delivery <mailer-daemon@mail.example.org>",
        "To: <anna@example.org>",
        "Subject: Your message was not delivered",
        "Date: Mon, 02 Nov 2026 10:00:00 +0000",
        "Message-ID: <u1@mail.example.org>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        '\tboundary="=_u1"',
        "",
        "--=_u1",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "This is the mail server mail.example.org. It is about your message of Mon,",
        "02 Nov 2026 09:00:00 +0000.",
        "",
        "These recipients did not get it, and no further attempt will be made:",
        "",
        "<bob@example.com>",
        "    550 5.1.1 No such user",
        "    (said by mx.example.com)",
        "",
        "--=_u1",
        "Content-Type: message/delivery-status",
        "",
        "Original-Envelope-Id: id+7",
        "Reporting-MTA: dns; mail.example.org",
        "Arrival-Date: Mon, 02 Nov 2026 09:00:00 +0000",
        "",
        "Original-Recipient: rfc822; Bob+shop@example.com",
        "Final-Recipient: rfc822; bob@example.com",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.example.com",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user",
        "Last-Attempt-Date: Mon, 02 Nov 2026 10:00:00 +0000",
        "",
        "--=_u1",
        "Content-Type: text/rfc822-headers",
        "",
        "Received: by mx",
        "Subject: hello",
        "",
        "--=_u1--",
        "",
    ]


def test_the_standard_library_reads_it() -> None:
    delayed = Entry("eve@example.com", Action.DELAYED, "4.4.1", "No answer", until=NOW + timedelta(days=2))
    parsed = message_from_bytes(build(report(REFUSED, delayed)).octets, policy=policy.default)
    assert parsed.get_content_type() == "multipart/report"
    text, status, headers = parsed.get_payload()
    assert [part.get_content_type() for part in (text, status, headers)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    first, bob, eve = status.get_payload()
    assert first["Reporting-MTA"] == "dns; mail.example.org"
    assert (bob["Action"], bob["Final-Recipient"]) == ("failed", "rfc822; bob@example.com")
    assert (eve["Action"], eve["Will-Retry-Until"]) == ("delayed", "Wed, 04 Nov 2026 10:00:00 +0000")
    assert "Diagnostic-Code" not in eve


@pytest.mark.parametrize(
    ("action", "subject", "words"),
    [
        pytest.param(Action.FAILED, "Your message was not delivered", "did not get it", id="failed"),
        pytest.param(Action.DELAYED, "Your message is delayed", "have not got it yet", id="delayed"),
        pytest.param(Action.DELIVERED, "Your message was delivered", "It was delivered", id="delivered"),
        pytest.param(Action.RELAYED, "Your message was passed on", "passed on to a server", id="relayed"),
    ],
)
def test_actions(action: Action, subject: str, words: str) -> None:
    octets = build(report(Entry("bob@example.com", action, "2.0.0", "ok"))).octets.decode()
    assert f"Subject: {subject}\r\n" in octets
    assert words in octets
    assert f"Action: {action.value}\r\n" in octets


FULL = {"full": True}
IN_UTF_8 = "Subject: é\r\n".encode()
HEADERS, GLOBAL_HEADERS, RFC822, GLOBAL = (
    "text/rfc822-headers",
    "message/global-headers",
    "message/rfc822",
    "message/global",
)


@pytest.mark.parametrize(
    ("original", "more", "kind", "octets", "body"),
    [
        pytest.param(HEADER, {}, HEADERS, HEADER[:-2], "7BIT", id="header"),
        pytest.param(HEADER + b"hi\r\n", FULL, RFC822, HEADER + b"hi\r\n", "7BIT", id="full"),
        pytest.param(HEADER + b"\xff\r\n", FULL, RFC822, HEADER + b"\xff\r\n", "8BITMIME", id="full-8bit"),
        pytest.param(IN_UTF_8 + b"\r\n", {}, GLOBAL_HEADERS, IN_UTF_8, "8BITMIME", id="header-in-utf-8"),
        pytest.param(
            IN_UTF_8 + b"\r\nx", {**FULL, "smtputf8": True}, GLOBAL, IN_UTF_8 + b"\r\nx", "8BITMIME", id="full-utf-8"
        ),
        pytest.param(b"\r\n", {}, HEADERS, b"", "7BIT", id="no-header"),
        pytest.param(b"", {}, HEADERS, b"", "7BIT", id="lost"),
        pytest.param(
            b"X: y\r\n" * 20_000 + b"\r\n", {}, HEADERS, b"X: y\r\n" * (LONGEST_HEADER // 6), "7BIT", id="long"
        ),
    ],
)
def test_what_goes_back(original: bytes, more: dict[str, object], kind: str, octets: bytes, body: str) -> None:
    built = build(report(REFUSED, original=original, **more))
    assert parts(built)[2] == (kind, octets)
    assert (built.body, built.smtputf8) == (body, False)


@pytest.mark.parametrize(
    ("to", "entry"),
    [
        pytest.param("änne@example.org", REFUSED, id="sender"),
        pytest.param("anna@example.org", Entry("jürgen@example.com", Action.FAILED, "5.1.1", "no"), id="recipient"),
        pytest.param(
            "anna@example.org",
            Entry("bob@example.com", Action.FAILED, "5.1.1", "no", original="utf-8;j\\x{FC}rgen@example.com"),
            id="original-recipient",
        ),
    ],
)
def test_addresses_beyond_ascii(to: str, entry: Entry) -> None:
    built = build(Report("mail.example.org", to, [entry], ARRIVED, NOW, "u1", HEADER))
    assert (built.body, built.smtputf8) == ("8BITMIME", True)
    assert b"report-type=global-delivery-status;" in built.octets
    kind, status = parts(built)[1]
    assert kind == "message/global-delivery-status"
    if "ü" in entry.address:
        assert "Final-Recipient: utf-8; jürgen@example.com\r\n" in status.decode()
    if entry.original.startswith("utf-8"):
        assert "Original-Recipient: utf-8; jürgen@example.com\r\n" in status.decode()


def test_words_beyond_ascii_do_not_make_it_so() -> None:
    built = build(report(Entry("bob@example.com", Action.FAILED, "5.1.1", "550 unzustellbar für Bob", host="mx.test")))
    assert (built.body, built.smtputf8) == ("7BIT", False)
    assert b"Diagnostic-Code: smtp; 550 unzustellbar f?r Bob\r\n" in built.octets


def failed(**more: str) -> Entry:
    return Entry(**{"address": "a@b", "action": Action.FAILED, "status": "5.0.0", "words": "x", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(failed(address="a@b\r\nAction: delivered"), id="address"),
        pytest.param(failed(words="x\r\n\r\nAction: delivered", host="h"), id="words"),
        pytest.param(failed(host="h\nAction: delivered"), id="host"),
        pytest.param(failed(status="5.0.0\r\nAction: delivered"), id="status"),
        pytest.param(failed(original="rfc822;c+0D+0AAction: delivered"), id="orcpt"),
        pytest.param(failed(original="utf-8;c\\x{2028}\\x{A}Action: delivered"), id="utf-8"),
        pytest.param(failed(words="x\u0085Action: delivered", host="h"), id="next-line"),
        pytest.param(failed(original="utf-8;\\x{D800}\\x{FFFFFF}"), id="no-character"),
    ],
)
def test_nobody_adds_a_line(entry: Entry) -> None:
    status = parts(build(report(entry)))[1][1].decode()
    actions = [line for line in status.splitlines() if line.startswith("Action:")]
    assert actions == ["Action: failed"]


@pytest.mark.parametrize("language", [*WORDS, "de_AT", "fr-CH", "xx", ""])
@pytest.mark.parametrize("action", [Action.FAILED, Action.DELAYED, Action.DELIVERED, Action.RELAYED])
def test_languages(language: str, action: Action) -> None:
    entry = replace(REFUSED, action=action, late=True, until=NOW)
    built = build(report(entry, language=language))
    said = words(language)
    number = [Action.FAILED, Action.DELAYED, Action.DELIVERED, Action.RELAYED].index(action)
    assert (built.body, built.smtputf8) == ("7BIT", False), "all servers take it, whatever the language"
    assert built.octets.isascii()
    read = message_from_bytes(built.octets, policy=policy.default)
    assert read["Subject"] == said.subjects[number]
    text = " ".join(next(iter(read.iter_parts())).get_content().split())
    assert said.leads[number] in text
    assert "mail.example.org" in text
    assert said.late.format(words="550 5.1.1 No such user") in text
    assert "mx.example.com" in text
    # RFC 3464 §2.3.6: what machines read has no language.
    fields = dict(parts(built))["message/delivery-status"]
    assert b"Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n" in fields


def test_a_report_of_an_address_beyond_ascii_has_a_language_too() -> None:
    built = build(report(replace(REFUSED, address="böb@example.com"), language="de"))
    assert built.smtputf8
    assert "Diese Empfänger haben sie nicht erhalten".encode() in built.octets
