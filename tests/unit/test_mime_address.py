"""Address lists. What ENVELOPE makes of them is in the golden files 27 and 28."""

import time

import pytest

from duckmail.mime.address import GROUP_END, Address, addresses


def one(mailbox: bytes, host: bytes, name: bytes | None = None, route: bytes | None = None) -> Address:
    return Address(name, route, mailbox, host)


def group(name: bytes) -> Address:
    return Address(None, None, name, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a@b", [one(b"a", b"b")], id="bare"),
        pytest.param(b"<a@b>", [one(b"a", b"b")], id="angle"),
        pytest.param(b"N <a@b>", [one(b"a", b"b", b"N")], id="name"),
        pytest.param(b"N. M.  O <a@b>", [one(b"a", b"b", b"N. M. O")], id="words-and-dots"),
        pytest.param(b'"N, \\"M\\"" <a@b>', [one(b"a", b"b", b'N, "M"')], id="quoted-name"),
        pytest.param(b'"N" M <a@b>', [one(b"a", b"b", b"N M")], id="quoted-and-not"),
        pytest.param(b'"" <a@b>', [one(b"a", b"b")], id="empty-name"),
        pytest.param(b"N<a@b>", [one(b"a", b"b", b"N")], id="no-blank"),
        pytest.param(b"a@b (N)", [one(b"a", b"b", b"N")], id="comment-is-name"),
        pytest.param(b"M <a@b> (N)", [one(b"a", b"b", b"M")], id="name-before-comment"),
        pytest.param(b"(x) a (y (z)) @ (\\)) b", [one(b"a", b"b", b")")], id="comments-everywhere"),
        pytest.param(b'"a b"@c', [one(b"a b", b"c")], id="quoted-local-part"),
        pytest.param(b'"a@b"@c', [one(b"a@b", b"c")], id="at-in-quotes"),
        pytest.param(b'"a"."b"@c', [one(b"a.b", b"c")], id="obsolete-local-part"),
        pytest.param(b"a . b @ c . d", [one(b"a.b", b"c.d")], id="blanks-around-dots"),
        pytest.param(b"<@x,@y:a@b>", [one(b"a", b"b", None, b"@x,@y")], id="route"),
        pytest.param(b"<mailto:a@b>", [one(b"a", b"b")], id="mailto"),
        pytest.param(b"a@[192.0.2.1]", [one(b"a", b"[192.0.2.1]")], id="domain-literal"),
        pytest.param(b"a@[IPv6:2001:db8::1]", [one(b"a", b"[IPv6:2001:db8::1]")], id="ipv6-literal"),
        pytest.param(b"a@b, c@d", [one(b"a", b"b"), one(b"c", b"d")], id="two"),
        pytest.param(b",, a@b,,", [one(b"a", b"b")], id="empty-entries"),
        pytest.param(b"a@b; c@d", [one(b"a", b"b"), one(b"c", b"d")], id="semicolons"),
        pytest.param(b"a@b <c@d>", [one(b"c", b"d", b"a@b")], id="address-as-name"),
        pytest.param(b"N <a@b> M <c@d>", [one(b"a", b"b", b"N"), one(b"c", b"d", b"M")], id="comma-forgotten"),
        pytest.param(b"N a@b", [one(b"a", b"b", b"N")], id="angle-forgotten"),
        pytest.param(b"N <a@b", [one(b"a", b"b", b"N")], id="angle-not-closed"),
        pytest.param(b"N <a@b, c@d", [one(b"a", b"b", b"N"), one(b"c", b"d")], id="angle-not-closed-then-another"),
        pytest.param(b"Doe, John <a@b>", [one(b"Doe", b""), one(b"a", b"b", b"John")], id="comma-not-quoted"),
        pytest.param(b"root", [one(b"root", b"")], id="local"),
        pytest.param(b"Some Body", [one(b"", b"", b"Some Body")], id="only-words"),
        pytest.param(b"a@", [one(b"a", b"")], id="no-domain"),
        pytest.param(b"@b", [one(b"", b"b")], id="no-local-part"),
        pytest.param(b"@", [one(b"", b"")], id="only-at"),
        pytest.param(b"a@b@c", [one(b"a@b", b"c")], id="two-ats"),
        pytest.param(b"<>", [one(b"", b"")], id="empty-angle"),
        pytest.param(b"=?utf-8?q?a,_b?= <a@b>", [one(b"a", b"b", b"=?utf-8?q?a,_b?=")], id="comma-in-encoded-word"),
        pytest.param(
            "Jürgen <jürgen@bücher.example>".encode(),
            [one("jürgen".encode(), "bücher.example".encode(), "Jürgen".encode())],
            id="utf8",
        ),
        pytest.param(b"g: a@b, N <c@d>;", [group(b"g"), one(b"a", b"b"), one(b"c", b"d", b"N"), GROUP_END], id="group"),
        pytest.param(b"g:;", [group(b"g"), GROUP_END], id="empty-group"),
        pytest.param(b"g: a@b", [group(b"g"), one(b"a", b"b"), GROUP_END], id="group-not-closed"),
        pytest.param(b'"g h": ;, x@y', [group(b"g h"), GROUP_END, one(b"x", b"y")], id="group-then-address"),
        pytest.param(
            b"g: h: a@b;", [group(b"g"), GROUP_END, group(b"h"), one(b"a", b"b"), GROUP_END], id="group-in-group"
        ),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"(only a comment)", [], id="comment"),
        pytest.param(b"(never closed a@b", [], id="open-comment"),
        pytest.param(b") ] > \\ ", [], id="stray-specials"),
        pytest.param(b'"never closed a@b', [one(b"never closed a@b", b"")], id="open-quote"),
    ],
)
def test_addresses(value: bytes, expected: list[Address]) -> None:
    assert addresses(value) == expected


@pytest.mark.parametrize(
    "piece", [b",", b"<", b"(", b")", b'"\\', b"a ", b"a.", b"@", b":", b";", b"[", b"=?a?q?", b"<a>", b"a@b,"]
)
def test_parsing_is_linear(piece: bytes) -> None:
    """A quadratic parser would take hours for these 400 KB."""
    begin = time.process_time()
    addresses(piece * (400_000 // len(piece)))
    assert time.process_time() - begin < 30


def test_twenty_thousand_addresses() -> None:
    value = b",\r\n ".join(b'"User, %d" <user%d@example.com>' % (number, number) for number in range(20_000))
    found = addresses(value)
    assert len(found) == 20_000
    assert found[-1] == one(b"user19999", b"example.com", b"User, 19999")
