"""Commands, parameters, paths and replies against RFC 5321, 1870, 3461, 6531."""

import pytest

from duckmail import errors
from protocols.smtp.replies import error_reply
from protocols.smtp.wire.command import (
    Bdat,
    Command,
    parse,
    parse_bdat,
    parse_mail,
    parse_rcpt,
    parse_xclient,
    parse_xforward,
)
from protocols.smtp.wire.parameters import (
    SUBMISSION_MAIL_TLS,
    MailParameters,
    RcptParameters,
    mail_parameters,
    rcpt_parameters,
    xtext,
)
from protocols.smtp.wire.path import forward_path, reverse_path
from protocols.smtp.wire.reply import CommandError, reply

ALL = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "NOTIFY", "ORCPT"})
LONG = "a" * 900


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"NOOP", Command("NOOP", ""), id="verb-alone"),
        pytest.param(b"mail FROM:<a@b>", Command("MAIL", "FROM:<a@b>"), id="case-of-the-verb"),
        pytest.param(b"QUIT   ", Command("QUIT", ""), id="trailing-space"),
        pytest.param("RCPT TO:<ü@b>".encode(), Command("RCPT", "TO:<ü@b>"), id="utf-8"),
    ],
)
def test_commands(line: bytes, expected: Command) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" NOOP", id="leading-space"),
        pytest.param(b"NOOP\t", id="tab"),
        pytest.param(b"NOOP x\x00", id="nul"),
        pytest.param(b"MAIL\xff", id="not-utf-8"),
        pytest.param(b"X-Y z", id="not-letters"),
        pytest.param(b"A" * 21, id="long-verb"),
    ],
)
def test_lines_that_are_no_commands(line: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        parse(line)
    assert (caught.value.reply.code, caught.value.reply.status) == (500, "5.5.2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<>", ("", ""), id="null"),
        pytest.param("<a@b.example>", ("a@b.example", ""), id="plain"),
        pytest.param("<a@b> SIZE=1", ("a@b", " SIZE=1"), id="rest"),
        pytest.param('<"a b"@b>', ('"a b"@b', ""), id="quoted"),
        pytest.param('<"ab"@b>', ("ab@b", ""), id="needless-quotes-go"),
        pytest.param('<"a\\"\\\\@>b"@b>', ('"a\\"\\\\@>b"@b', ""), id="quoted-pairs-and-specials"),
        pytest.param("<@x,@y.example:a@b>", ("a@b", ""), id="source-route-is-ignored"),
        pytest.param("<a@[192.0.2.1]>", ("a@[192.0.2.1]", ""), id="ipv4-literal"),
        pytest.param("<a@[IPv6:2001:db8::1]>", ("a@[IPv6:2001:db8::1]", ""), id="ipv6-literal"),
        pytest.param("<!#$%&'*+-/=?^_`{|}~@b>", ("!#$%&'*+-/=?^_`{|}~@b", ""), id="atext"),
        pytest.param("<a..b.@mobile.example>", ('"a..b."@mobile.example', ""), id="odd-dots-of-old-mobile-networks"),
        pytest.param("<a@under_score.example>", ("a@under_score.example", ""), id="underscore-in-domain"),
        pytest.param("<ü@bücher.example>", ("ü@bücher.example", ""), id="utf-8"),
        pytest.param(f"<{LONG}@b>", (f"{LONG}@b", ""), id="long"),
    ],
)
def test_reverse_paths(text: str, expected: tuple[str, str]) -> None:
    assert reverse_path(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("a@b", id="no-brackets"),
        pytest.param("<a@b", id="not-closed"),
        pytest.param("<a>", id="no-domain"),
        pytest.param("<@b>", id="no-local-part"),
        pytest.param("<a@>", id="empty-domain"),
        pytest.param("<a@b@c>", id="two-at"),
        pytest.param("<a b@c>", id="space"),
        pytest.param("<a@b c>", id="space-in-domain"),
        pytest.param("<a@b..c>", id="empty-label"),
        pytest.param("<a@-b>", id="label-begins-with-hyphen"),
        pytest.param('<"a"b"@c>', id="quote-inside"),
        pytest.param('<"a\\"@c>', id="quote-not-closed"),
        pytest.param("<a@[300.1.1.1]>", id="bad-ipv4"),
        pytest.param("<a@[IPv6:zz::1]>", id="bad-ipv6"),
        pytest.param("<a@[]>", id="empty-literal"),
        pytest.param("<a\x01@b>", id="control"),
        pytest.param("<a\u2028b@c>", id="line-separator"),
        pytest.param("<a\x85b@c>", id="c1-control"),
        pytest.param(f"<{LONG}@{LONG}>", id="too-long"),
        pytest.param("<ü" + "ü" * 500 + "@b>", id="too-many-octets"),
        pytest.param("<@x:>", id="route-alone"),
    ],
)
def test_bad_paths(text: str) -> None:
    with pytest.raises(CommandError) as sender:
        reverse_path(text)
    with pytest.raises(CommandError) as recipient:
        forward_path(text)
    assert (sender.value.reply.code, sender.value.reply.status) == (501, "5.1.7")
    assert (recipient.value.reply.code, recipient.value.reply.status) == (501, "5.1.3")


def test_forward_paths() -> None:
    assert forward_path("<PostMaster>") == ("postmaster", "")
    with pytest.raises(CommandError):
        forward_path("<>")


# RFC 5321 §4.1.2 atext, written out a second time.
ATEXT = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~")


def test_each_ascii_character_in_a_local_part() -> None:
    for code in range(128):
        text = f"<a{chr(code)}b@c>"
        if code in ATEXT | set(b"."):
            assert reverse_path(text)[0] == text[1:-1]
        else:
            with pytest.raises(CommandError):
                reverse_path(text)


def test_each_ascii_character_in_a_quoted_local_part() -> None:
    for code in range(128):
        plain, escaped = f'<"a{chr(code)}b"@c>', f'<"a\\{chr(code)}b"@c>'
        for text, allowed in ((plain, 32 <= code < 127 and chr(code) != '"'), (escaped, 32 <= code < 127)):
            if allowed:
                assert reverse_path(text)[0].endswith("@c")
            else:
                with pytest.raises(CommandError):
                    reverse_path(text)


def test_mail() -> None:
    given = parse_mail("from:<a@b> size=12 BODY=8bitmime  SMTPUTF8", ALL)
    assert (given.sender, given.parameters) == ("a@b", MailParameters(12, "8BITMIME", True))
    assert parse_mail("FROM: <>", ALL).sender == ""


def test_parameters() -> None:
    assert mail_parameters(" RET=hdrs ENVID=a+2Bb", ALL) == MailParameters(ret="HDRS", envid="a+2Bb")
    assert rcpt_parameters(" NOTIFY=success,delay ORCPT=rfc822;a+3Db@c", ALL) == RcptParameters(
        ("SUCCESS", "DELAY"), "rfc822;a+3Db@c"
    )
    assert rcpt_parameters(" ORCPT=utf-8;ü@c NOTIFY=NEVER", ALL) == RcptParameters(("NEVER",), "utf-8;ü@c")
    assert rcpt_parameters(" ORCPT=utf-8;\\x{FC}@c", ALL).orcpt == "utf-8;\\x{FC}@c"
    assert mail_parameters(" REQUIRETLS AUTH=<>", ALL | {"REQUIRETLS", "AUTH"}) == MailParameters(requiretls=True)
    assert mail_parameters(" auth=a+40b", ALL | {"AUTH"}) == MailParameters()
    assert parse_rcpt("TO:<a@b>", frozenset(), False).parameters == RcptParameters()


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        pytest.param("TO:<a@b>", 501, id="to-instead-of-from"),
        pytest.param("FROM <a@b>", 501, id="no-colon"),
        pytest.param("FROM:<a@b>SIZE=1", 501, id="no-space"),
        pytest.param("FROM:<a@b> SIZE=1 SIZE=2", 501, id="twice"),
        pytest.param("FROM:<a@b> SIZE", 501, id="size-without-value"),
        pytest.param("FROM:<a@b> SIZE=-1", 501, id="negative-size"),
        pytest.param("FROM:<a@b> SIZE=²", 501, id="size-not-ascii"),
        pytest.param("FROM:<a@b> SIZE=" + "9" * 21, 501, id="size-with-21-digits"),
        pytest.param("FROM:<a@b> BODY=9BIT", 501, id="unknown-body"),
        pytest.param("FROM:<a@b> SMTPUTF8=1", 501, id="smtputf8-with-value"),
        pytest.param("FROM:<a@b> RET=ALL", 501, id="unknown-ret"),
        pytest.param("FROM:<a@b> ENVID=a+2", 501, id="envid-not-xtext"),
        pytest.param("FROM:<a@b> ENVID=" + "a" * 101, 501, id="envid-too-long"),
        pytest.param("FROM:<a@b> ENVID=a+0D+0Ab", 501, id="envid-with-a-line-break"),
        pytest.param("FROM:<a@b> ENVID=a+00", 501, id="envid-with-nul"),
        pytest.param("FROM:<a@b> ENVID=+C3+BC", 501, id="envid-not-ascii"),
        pytest.param("FROM:<a@b> ENVID=", 501, id="envid-empty"),
        pytest.param("FROM:<a@b> =1", 501, id="no-keyword"),
        pytest.param("FROM:<a@b> A=b=c", 501, id="equals-sign-in-value"),
        pytest.param("FROM:<a@b> AUTH=<>", 555, id="unknown"),
        pytest.param("FROM:<ü@b>", 553, id="utf-8-not-announced"),
        pytest.param('FROM:<"ü SMTPUTF8 "@b>', 553, id="smtputf8-inside-the-address-is-no-parameter"),
    ],
)
def test_bad_mail(argument: str, code: int) -> None:
    with pytest.raises(CommandError) as caught:
        parse_mail(argument, ALL)
    assert caught.value.reply.code == code


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(" NOTIFY=NEVER,SUCCESS", id="never-with-others"),
        pytest.param(" NOTIFY=", id="no-event"),
        pytest.param(" NOTIFY=SUCCESS,", id="empty-event"),
        pytest.param(" ORCPT=a@b", id="orcpt-without-type"),
        pytest.param(" ORCPT=rfc822;", id="orcpt-without-address"),
        pytest.param(" ORCPT=rfc822;" + "a" * 500, id="orcpt-too-long"),
        pytest.param(" ORCPT=rfc822;ü@b", id="orcpt-not-ascii"),
        pytest.param(" ORCPT=rfc822;a+0D+0ARCPT", id="orcpt-with-a-line-break"),
        pytest.param(" ORCPT=rfc822;a+00", id="orcpt-with-nul"),
        pytest.param(" ORCPT=rfc822;a+C3+BC", id="orcpt-not-ascii-in-xtext"),
        pytest.param(" ORCPT=utf-8;ü\u2028@b", id="orcpt-with-a-line-separator"),
        pytest.param(" ORCPT=utf-8;ü+0D@b", id="orcpt-with-plus-in-unitext"),
        pytest.param(" ORCPT=utf-8;" + "ü" * 250, id="orcpt-with-too-many-octets"),
        pytest.param(" ORCPT=rfc 822;a@b", id="orcpt-type-with-a-space"),
    ],
)
def test_bad_rcpt_parameters(parameters: str) -> None:
    with pytest.raises(CommandError) as caught:
        rcpt_parameters(parameters, ALL)
    assert caught.value.reply.code == 501


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param(" REQUIRETLS=1", 501, id="requiretls-with-value"),
        pytest.param(" AUTH", 501, id="auth-without-value"),
        pytest.param(" AUTH=a+0D+0A", 501, id="auth-with-a-line-break"),
        pytest.param(" NOTIFY=NEVER", 555, id="parameter-of-rcpt"),
    ],
)
def test_bad_mail_parameters_of_submission(parameters: str, code: int) -> None:
    with pytest.raises(CommandError) as caught:
        mail_parameters(parameters, SUBMISSION_MAIL_TLS)
    assert caught.value.reply.code == code


def test_utf_8_in_orcpt_needs_smtputf8() -> None:
    assert parse_rcpt("TO:<a@b> ORCPT=utf-8;ü@c", ALL, utf8=True).parameters.orcpt == "utf-8;ü@c"
    with pytest.raises(CommandError) as caught:
        parse_rcpt("TO:<a@b> ORCPT=utf-8;ü@c", ALL, utf8=False)
    assert caught.value.reply.code == 501


def test_xtext() -> None:
    assert xtext("a+2B+3D") == "a+="
    assert xtext("+C3+BC") == "ü"
    for bad in ("a+2b", "a+", "a=b", "a b", "+FF", "+0D+0A", "+7F"):
        with pytest.raises(ValueError, match=r"xtext|utf-8"):
            xtext(bad)


def test_bdat() -> None:
    assert parse_bdat("0 last") == Bdat(0, True)
    assert parse_bdat("12") == Bdat(12, False)
    for bad in ("", "-1", "1 FIRST", "x", "1 LAST LAST", "1LAST", "٣"):
        with pytest.raises(CommandError):
            parse_bdat(bad)


def test_xforward() -> None:
    assert parse_xforward("IDENT=4F+2D name=[UNAVAILABLE]") == {"IDENT": "4F-", "NAME": ""}
    for bad in ("", "WHO=me", "IDENT=+1", "IDENT=" + "a" * 256):
        with pytest.raises(CommandError):
            parse_xforward(bad)


def test_xclient() -> None:
    assert parse_xclient("ADDR=IPV6:2001:db8::1 helo=[TEMPUNAVAIL]") == {"ADDR": "IPV6:2001:db8::1", "HELO": ""}
    for bad in ("", "LOGIN=me", "DESTADDR=192.0.2.1", "ADDR=+1", "NAME=" + "a" * 256):
        with pytest.raises(CommandError):
            parse_xclient(bad)


def test_replies() -> None:
    assert reply(250, "2.0.0", "one", "two").to_bytes() == b"250-2.0.0 one\r\n250 2.0.0 two\r\n"
    assert reply(220, "", "hi").to_bytes() == b"220 hi\r\n"
    assert reply(550, "5.1.1", "a\r\n250 b\x00ü").to_bytes() == b"550 5.1.1 a??250 b??\r\n"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(errors.NotFound("No"), "550 5.1.1 No", id="unknown"),
        pytest.param(errors.AccountDisabled("Off"), "550 5.2.1 Off", id="disabled"),
        pytest.param(errors.OverQuota("Full"), "552 5.2.2 Full", id="full"),
        pytest.param(errors.Unavailable("Down"), "451 4.3.0 Down", id="database-down-is-no-bounce"),
        pytest.param(
            errors.CommitUnknown(), "451 4.3.0 The outcome of the operation is not known", id="unknown-commit"
        ),
        pytest.param(errors.InUse("Busy"), "450 4.2.0 Busy", id="in-use"),
    ],
)
def test_error_replies(error: errors.DuckmailError, expected: str) -> None:
    assert str(error_reply(error)) == expected


def test_what_the_table_does_not_know_is_temporary() -> None:
    for kind in (errors.DuckmailError, errors.Cannot, errors.ReadOnly, errors.AlreadyExists):
        answer = error_reply(kind("secret detail"))
        assert (answer.code, "secret" in answer.lines[0]) == (451, False)
