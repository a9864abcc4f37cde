"""What a submitted message's header says, and how it is changed: strictly read, nothing else touched."""

import pytest

from duckmail.mime.outgoing import (
    MAX_FIELDS,
    MAX_HEADER,
    MAX_MAILBOXES,
    Malformed,
    edit,
    mailboxes,
    read,
    with_address,
)

PLAIN = b"From: Anna <anna@example.com>\r\nTo: x@example.org\r\nSubject: hi\r\n\r\nbody\r\n"


def test_fields_and_their_places() -> None:
    raw = b"From:a@b\r\nX-Long : one\r\n\ttwo\r\n three\r\nfrom: c@d\r\n\r\nFrom: body\r\n"
    message = read(raw)
    assert [field.name for field in message.fields] == [b"from", b"x-long", b"from"]
    assert [raw[field.start : field.end] for field in message.fields] == [
        b"From:a@b\r\n",
        b"X-Long : one\r\n\ttwo\r\n three\r\n",
        b"from: c@d\r\n",
    ]
    assert message.bodies(b"from") == [b"a@b", b"c@d"]
    assert message.bodies(b"x-long") == [b"one\ttwo three"]
    assert message.header == raw[: raw.index(b"\r\n\r\n") + 2]
    assert message.ascii


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"From: a@b\r\n", id="no-empty-line"),
        pytest.param(b"\r\nFrom: a@b\r\n\r\n", id="begins-with-an-empty-line"),
        pytest.param(b" From: a@b\r\n\r\n", id="begins-with-a-blank"),
        pytest.param(b"From a@b Mon Nov 2\r\nFrom: a@b\r\n\r\n", id="mailbox-from-line"),
        pytest.param(b"From: a@b\r\nno field\r\n\r\n", id="line-without-a-colon"),
        pytest.param(b"From: a@b\r\n: x\r\n\r\n", id="no-name"),
        pytest.param(b"From: a@b\r\nFr om: c@d\r\n\r\n", id="blank-in-a-name"),
        pytest.param("From: a@b\r\nFr\u043em: c@d\r\n\r\n".encode(), id="cyrillic-letter-in-a-name"),
        pytest.param(b"From: a@b\nFrom: c@d\r\n\r\n", id="bare-lf"),
        pytest.param(b"From: a@b\rFrom: c@d\r\n\r\n", id="bare-cr"),
        pytest.param(b"From: a@b\r\r\nTo: c@d\r\n\r\n", id="cr-cr-lf"),
        pytest.param(b"From: a@b\r\nX: a\0b\r\n\r\n", id="nul-in-the-header"),
        pytest.param(b"From: a@b\r\n\r\na\0b", id="nul-in-the-body"),
        pytest.param(b"From: a@b\r\n" + b"X: " + b"y" * MAX_HEADER + b"\r\n\r\n", id="too-long"),
        pytest.param(b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n", id="too-many-fields"),
    ],
)
def test_malformed_messages(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read(raw)
    with pytest.raises(Malformed):
        read(bytearray(raw))


def test_as_many_fields_as_may_be() -> None:
    assert len(read(b"X: y\r\n" * MAX_FIELDS + b"\r\n").fields) == MAX_FIELDS


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("anna@example.com", ["anna@example.com"], id="bare"),
        pytest.param("<anna@example.com>", ["anna@example.com"], id="brackets"),
        pytest.param("Anna <anna@example.com>", ["anna@example.com"], id="name"),
        pytest.param("Anna<anna@example.com>", ["anna@example.com"], id="name-without-a-blank"),
        pytest.param('"Doe, Anna" <anna@example.com>', ["anna@example.com"], id="quoted-name"),
        pytest.param('"bert@example.com" <anna@example.com>', ["anna@example.com"], id="quoted-name-with-an-address"),
        pytest.param('"a \\" <b@c>" <anna@example.com>', ["anna@example.com"], id="quoted-pair"),
        pytest.param("Dr. A. Doe <anna@example.com>", ["anna@example.com"], id="dots-in-a-name"),
        pytest.param("Änna <anna@example.com>", ["anna@example.com"], id="utf-8-name"),
        pytest.param("=?utf-8?q?=C3=84nna?= <anna@example.com>", ["anna@example.com"], id="encoded-word"),
        pytest.param("anna@example.com (bert@example.com)", ["anna@example.com"], id="comment-behind"),
        pytest.param("(bert@example.com (x)) anna@example.com", ["anna@example.com"], id="comment-before"),
        pytest.param("Anna (\\)) <anna@example.com>", ["anna@example.com"], id="quoted-pair-in-a-comment"),
        pytest.param('"(" <anna@example.com>', ["anna@example.com"], id="parenthesis-in-quotes"),
        pytest.param("anna@example.com, Bert <bert@b.example>", ["anna@example.com", "bert@b.example"], id="two"),
        pytest.param('"a b"@example.com', ['"a b"@example.com'], id="quoted-local-part"),
        pytest.param("käthe@bücher.example", ["käthe@bücher.example"], id="utf-8-address"),
        # What some programs take for the address is looked at too.
        pytest.param("b@b.example <a@example.com>", ["b@b.example", "a@example.com"], id="address-as-name"),
        pytest.param("x b@b.example y <a@example.com>", ["b@b.example", "a@example.com"], id="address-in-a-name"),
    ],
)
def test_mailboxes(body: str, expected: list[str]) -> None:
    assert mailboxes(body.encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"(comment)", id="comment-alone"),
        pytest.param(b"Anna", id="name-alone"),
        pytest.param(b"anna@", id="no-domain"),
        pytest.param(b"@example.com", id="no-local-part"),
        pytest.param(b"<>", id="null"),
        pytest.param(b"a@example.com b@example.com", id="no-comma"),
        pytest.param(b"a@example.com <b@example.com> c@example.com", id="address-behind"),
        pytest.param(b"<a@example.com> <b@example.com>", id="two-in-brackets"),
        pytest.param(b"<a@example.com", id="not-closed"),
        pytest.param(b"a@example.com>", id="not-opened"),
        pytest.param(b"<<a@example.com>>", id="brackets-twice"),
        pytest.param(b"a@b@example.com", id="two-at"),
        pytest.param(b"<@x.example:a@example.com>", id="source-route"),
        pytest.param(b"Group: a@example.com;", id="group"),
        pytest.param(b"undisclosed:;", id="empty-group"),
        pytest.param(b"a@example.com,", id="comma-at-the-end"),
        pytest.param(b"a@example.com; b@example.com", id="semicolon"),
        pytest.param(b"anna @example.com", id="blank-before-the-at"),
        pytest.param(b"anna@ example.com", id="blank-behind-the-at"),
        pytest.param(b"anna(x)@example.com", id="comment-before-the-at"),
        pytest.param(b"anna@exa mple.com", id="blank-in-the-domain"),
        pytest.param(b'a"b"@example.com', id="quotes-inside-the-local-part"),
        pytest.param(b'"a".b@example.com', id="obsolete-local-part"),
        pytest.param(b'"bert@b.example> <a@example.com>', id="quote-not-closed"),
        pytest.param(b"(bert <a@example.com>", id="comment-not-closed"),
        pytest.param(b"bert) <a@example.com>", id="comment-not-opened"),
        pytest.param(b"a@example.com\\", id="backslash"),
        pytest.param(b"(\\", id="backslash-ends-a-comment"),
        pytest.param(b"a@[192.0.2.1]", id="address-literal"),
        pytest.param(b"a\x01@example.com", id="control"),
        pytest.param(b"Anna \x08 <a@example.com>", id="control-in-a-name"),
        pytest.param(b"=?utf-8?q?bert?=@example.com", id="encoded-word-as-local-part"),
        pytest.param(b"a@=?utf-8?q?b.example?=", id="encoded-word-as-domain"),
        pytest.param(b"a\xff@example.com", id="not-utf-8"),
        pytest.param(b", ".join([b"a@example.com"] * (MAX_MAILBOXES + 1)), id="too-many"),
    ],
)
def test_what_programs_may_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        mailboxes(body)


def test_a_folded_address_is_refused_and_a_folded_list_is_not() -> None:
    folded = read(b"From: anna@exa\r\n mple.com\r\nSender: Anna\r\n <a@b.example>,\r\n\tc@d.example\r\n\r\n")
    with pytest.raises(Malformed):
        mailboxes(folded.bodies(b"from")[0])
    assert mailboxes(folded.bodies(b"sender")[0]) == ["a@b.example", "c@d.example"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("bert@b.example", "<a@b>", id="no-name"),
        pytest.param("Bert <bert@b.example>", "Bert <a@b>", id="name"),
        pytest.param('"Bert, B." <bert@b.example>', '"Bert, B." <a@b>', id="quoted"),
        pytest.param('"a\\"b\\\\" <x@y>', '"a\\"b\\\\" <a@b>', id="quoted-pairs"),
        pytest.param("=?utf-8?q?B=C3=A9?= <x@y>", "=?utf-8?q?B=C3=A9?= <a@b>", id="encoded-word"),
        pytest.param("Bé <x@y>", "Bé <a@b>", id="utf-8"),
        pytest.param("root", "root <a@b>", id="name-alone"),
        pytest.param("Cron Daemon <root>", "Cron Daemon <a@b>", id="no-domain"),
        pytest.param("Team: x@y, z@y;", "Team <a@b>", id="group"),
        pytest.param("A <x@y>, B <z@y>", "A <a@b>", id="the-first-of-two"),
        pytest.param("", "<a@b>", id="empty"),
        pytest.param("\x01\x02 <x@y>", "<a@b>", id="controls"),
        pytest.param('"' + "x" * 300 + '" <x@y>', "x" * 200 + " <a@b>", id="long"),
    ],
)
def test_another_address_under_the_same_name(body: str, expected: str) -> None:
    written = with_address(body.encode(), "a@b")
    assert written.decode() == expected
    assert written.decode().isprintable()


def test_nothing_to_change_is_the_same_object() -> None:
    raw = bytearray(PLAIN)
    assert edit(raw, read(raw), frozenset({b"bcc"}), {}, b"") is raw
    assert edit(PLAIN, read(PLAIN), frozenset(), {}, b"") is PLAIN


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_dropped_replaced_added(kind: type[bytes] | type[bytearray]) -> None:
    raw = kind(
        b"Bcc: a@b,\r\n c@d\r\nFrom: x@y\r\nSubject: Bcc: no\r\nBCC : e@f\r\nTo: z@y\r\nbcc:\r\n\r\nBcc: body\r\n.\r\n"
    )
    changed = edit(raw, read(raw), frozenset({b"bcc"}), {b"from": b"From: n@y\r\nX-Old: x\r\n"}, b"Date: d\r\n")
    assert changed == (b"From: n@y\r\nX-Old: x\r\nSubject: Bcc: no\r\nTo: z@y\r\nDate: d\r\n\r\nBcc: body\r\n.\r\n")
