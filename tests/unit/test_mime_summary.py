"""Summaries: addresses, ids, dates, attachments."""

from datetime import UTC, date, datetime

import pytest

from duckmail.mime.scan import scan
from duckmail.mime.summary import MAX_ATTACHMENTS, Attachment, Summary, parse_date, summary


def of(raw: bytes) -> Summary:
    return summary(raw, scan(raw))


def test_a_whole_message() -> None:
    raw = (
        b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: a@example.org, g: =?utf-8?q?B?= <b@example.org>;\r\n"
        b'Cc: "C, D" <c@example.org>\r\nBcc: root\r\nReply-To: r@example.org\r\n'
        b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n  again\r\nDate: Mon, 1 Jan 2024 00:30:00 +0100 (CET)\r\n"
        b"Message-ID:\r\n <m@example.org>\r\nIn-Reply-To: Your mail of <i@example.org> <j@x>\r\n"
        b"References: <a@x> <b@x>\r\n\t<a@x><c@x>\r\n\r\n Some text.\r\n"
    )
    assert of(raw) == Summary(
        subject="Grüße  again",
        from_=[("Jürgen", "j@example.org")],
        to=[("", "a@example.org"), ("B", "b@example.org")],
        cc=[("C, D", "c@example.org")],
        bcc=[("", "root")],
        reply_to=[("", "r@example.org")],
        message_id="<m@example.org>",
        in_reply_to="<i@example.org>",
        references=["<a@x>", "<b@x>", "<c@x>"],
        sent_day=date(2024, 1, 1),
        date=datetime(2023, 12, 31, 23, 30, tzinfo=UTC),
        intro="Some text.",
        attachments=[],
    )


def test_nothing() -> None:
    assert of(b"") == Summary("", [], [], [], [], [], "", "", [], None, None, "", [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(b"Message-ID: no brackets@x", "no brackets@x", id="without-brackets"),
        pytest.param(b"Message-ID: junk <a@x> junk", "<a@x>", id="among-junk"),
        pytest.param("Message-ID: <ä@x>".encode(), "<ä@x>", id="utf8"),
        pytest.param(b"Message-ID: <a b@x>", "<a b@x>", id="blank-inside"),
        pytest.param(b"Message-ID:", "", id="empty"),
    ],
)
def test_message_id(fields: bytes, expected: str) -> None:
    assert of(fields + b"\r\n\r\n").message_id == expected


@pytest.mark.parametrize(
    ("value", "moment", "day"),
    [
        pytest.param("Mon, 1 Jan 2024 23:30:00 -0500", (2024, 1, 2, 4, 30), (2024, 1, 1), id="rfc5322"),
        pytest.param("1 Jan 2024 10:00 +0000", (2024, 1, 1, 10, 0), (2024, 1, 1), id="no-weekday-no-seconds"),
        pytest.param("Mon, 01 Jan 24 10:00:00 GMT", (2024, 1, 1, 10, 0), (2024, 1, 1), id="two-digit-year-and-name"),
        pytest.param("Mon, 1 Jan 2024 10:00:60 +0000", (2024, 1, 1, 10, 0), (2024, 1, 1), id="leap-second"),
        pytest.param("Mon, 1 Jan 2024 10:00:00", (2024, 1, 1, 10, 0), (2024, 1, 1), id="no-zone"),
        pytest.param("Mon, 1 Jan 2024 25:00:00 +0000", None, (2024, 1, 1), id="no-such-hour"),
        pytest.param("Mon, 31 Feb 2024 10:00:00 +0000", None, None, id="no-such-day"),
        pytest.param("1 Jan 0001 00:00:00 +1400", None, None, id="no-such-year"),
        pytest.param("31 Dec 9999 23:59:59 -1400", None, (9999, 12, 31), id="too-late"),
        pytest.param("1 Jan 2024 10:00:00 +999999999999", None, (2024, 1, 1), id="absurd-zone"),
        pytest.param("yesterday", None, None, id="words"),
        pytest.param("", None, None, id="empty"),
        pytest.param("x" * 1_000_000, None, None, id="long"),
    ],
)
def test_parse_date(value: str, moment: tuple[int, ...] | None, day: tuple[int, int, int] | None) -> None:
    found, found_day = parse_date(value.encode())
    if value.startswith("1 Jan 0001"):  # the parser takes years below 69 for those after 2000
        assert found == datetime(2000, 12, 31, 10, 0, tzinfo=UTC)
        return
    assert found == (datetime(*moment, second=59 if ":60" in value else 0, tzinfo=UTC) if moment else None)
    assert found_day == (date(*day) if day else None)


MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def attachments(*parts: bytes) -> list[Attachment]:
    return of(MIXED + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n").attachments


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param(b"\r\ntext", None, id="text"),
        pytest.param(b"Content-Type: text/html; name=x.html\r\n\r\ntext", None, id="html-with-a-name"),
        pytest.param(b"Content-Disposition: inline\r\n\r\ntext", None, id="inline-text"),
        pytest.param(
            b"Content-Disposition: attachment\r\n\r\ntext",
            Attachment("1", "", "text/plain", "attachment", "7bit", 4, "", False),
            id="attached-text",
        ),
        pytest.param(
            b"Content-Disposition: inline; filename=a.log\r\n\r\ntext",
            Attachment("1", "a.log", "text/plain", "inline", "7bit", 4, "", False),
            id="inline-text-file",
        ),
        pytest.param(
            b'Content-Type: IMAGE/PNG; name="=?utf-8?q?=C3=A4?=.png"\r\nContent-Transfer-Encoding: Base64\r\n'
            b"Content-ID: <i@x>\r\n\r\nAAAA",
            Attachment("1", "ä.png", "image/png", "", "base64", 4, "i@x", False),
            id="image",
        ),
        pytest.param(
            b"Content-Type: a/b; name=x\r\n"
            b"Content-Disposition: attachment; filename*=utf-8''%C3%A4; filename=y\r\n\r\n",
            Attachment("1", "ä", "a/b", "attachment", "7bit", 0, "", False),
            id="names-by-rank",
        ),
        pytest.param(
            b"Content-Type: message/rfc822\r\n\r\nContent-Type: image/png\r\n\r\nx",
            Attachment("1", "", "message/rfc822", "", "7bit", 28, "", False),
            id="message-and-nothing-inside-it",
        ),
        pytest.param(
            b"Content-Type: text/calendar\r\n\r\nx",
            Attachment("1", "", "text/calendar", "", "7bit", 1, "", False),
            id="other-text",
        ),
    ],
)
def test_attachment(part: bytes, expected: Attachment | None) -> None:
    assert attachments(part) == ([expected] if expected else [])


def test_related_parts_and_their_numbers() -> None:
    related = (
        b"Content-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\nx\r\n--r\r\n"
        b"Content-Type: image/gif\r\nContent-ID: <g>\r\n\r\nx\r\n--r--"
    )
    found = attachments(related, b"Content-Type: image/gif\r\n\r\nx")
    assert [(item.path, item.cid, item.related) for item in found] == [("1.2", "g", True), ("2", "", False)]


def test_attachments_are_limited() -> None:
    assert len(attachments(*[b"Content-Type: a/b\r\n\r\n"] * (MAX_ATTACHMENTS + 5))) == MAX_ATTACHMENTS


def test_file_names_are_limited_and_valid() -> None:
    (item,) = attachments(b"Content-Disposition: x; filename*=utf-7''+2AA-" + b"x" * 5000 + b"\r\n\r\n")
    assert item.filename.startswith("\ufffdx")
    assert len(item.filename) == 1000
