"""Content-Type and Content-Disposition: types, parameters, RFC 2231, comments, and what mailers make of them."""

import time

import pytest

from duckmail.mime.parameters import disposition, media_type, token, without_comments


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"text/plain", "text/plain", id="plain"),
        pytest.param(b" TEXT / Html ;x=y", "text/html", id="blanks-and-case"),
        pytest.param(b"(c) text (c) / (c (d)) plain (c)", "text/plain", id="comments"),
        pytest.param(b"text", "text/plain", id="rfc1049"),
        pytest.param(b"text; charset=x", "text/plain", id="rfc1049-with-parameter"),
        pytest.param(b"application/vnd.ms-excel.sheet+xml", "application/vnd.ms-excel.sheet+xml", id="long-subtype"),
        pytest.param(b"text/plain, text/html", "text/plain", id="comma"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"image", "", id="no-subtype"),
        pytest.param(b"/plain", "", id="no-type"),
        pytest.param(b"text/", "", id="empty-subtype"),
        pytest.param(b"text/pl\xc3\xa4in", "", id="not-ascii"),
        pytest.param(b"text/plain/x", "", id="two-slashes"),
        pytest.param(b"text/" + b"x" * 101, "", id="too-long"),
        pytest.param(b"(never closed text/plain", "", id="open-comment"),
    ],
)
def test_media_type(value: bytes, expected: str) -> None:
    assert media_type(value).value == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a=b", {"a": "b"}, id="token"),
        pytest.param(b' A = "b c" ; d=e', {"a": "b c", "d": "e"}, id="quoted"),
        pytest.param(b'a="b\\"c\\\\d"', {"a": 'b"c\\d'}, id="quoted-pairs"),
        pytest.param(b'a="b;c=d"; e=f', {"a": "b;c=d", "e": "f"}, id="semicolon-inside-quotes"),
        pytest.param(b'a="never closed; b=c', {"a": "never closed; b=c"}, id="open-quote"),
        pytest.param(b"a=my file.pdf; b=c", {"a": "my file.pdf", "b": "c"}, id="blanks-without-quotes"),
        pytest.param(b"a=report(1).pdf", {"a": "report(1).pdf"}, id="parentheses-without-quotes"),
        pytest.param(b"a=b (c); d=e (f", {"a": "b", "d": "e"}, id="comments"),
        pytest.param(b"a=b; a=c", {"a": "b"}, id="first-counts"),
        pytest.param(b"; ;; a=b;", {"a": "b"}, id="empty-ones"),
        pytest.param(b"a; =b; c=", {"c": ""}, id="halves"),
        pytest.param(b'a="=?utf-8?q?=C3=A4?="', {"a": "ä"}, id="rfc2047-in-quotes"),
        pytest.param("a=ä".encode(), {"a": "ä"}, id="raw-utf8"),
        pytest.param(b"a*=utf-8''%C3%A4%20b", {"a": "ä b"}, id="rfc2231"),
        pytest.param(b"a*=iso-8859-1'en'%E4", {"a": "ä"}, id="rfc2231-language"),
        pytest.param(b"a*=%C3%A4", {"a": "ä"}, id="rfc2231-without-charset"),
        pytest.param(b"a*=x-nowhere''%C3%A4", {"a": "ä"}, id="rfc2231-unknown-charset"),
        pytest.param(b"a*0=b; a*1=c; a*2=d", {"a": "bcd"}, id="continuations"),
        pytest.param(b"a*2=d; a*0=b; a*1=c", {"a": "bcd"}, id="continuations-in-any-order"),
        pytest.param(b"a*0=b; a*2=d", {"a": "b"}, id="gap-ends"),
        pytest.param(b"a*1=b; a*2=c", {"a": "bc"}, id="counted-from-one"),
        pytest.param(b"a*0*=utf-8''%C3; a*1*=%A4; a*2=%41", {"a": "ä%41"}, id="encoded-continuations"),
        pytest.param(b"a*0*=utf-8''x; a*0=y", {"a": "x"}, id="section-twice"),
        pytest.param(b"a=plain; a*=\"utf-8''%C3%A4\"", {"a": "ä"}, id="extended-preferred"),
        pytest.param(b"a*=utf-8''%zz%", {"a": "%zz%"}, id="broken-percent"),
        pytest.param(b"a*99999=b", {"a": ""}, id="absurd-number"),
    ],
)
def test_parameters(value: bytes, expected: dict[str, str]) -> None:
    found = disposition(b"attachment; " + value)
    assert found.value == "attachment"
    for name, text in expected.items():
        parameter = found.parameter(name)
        assert (parameter.text if parameter else "") == text
    assert {parameter.name for parameter in found.parameters} - {"a*99999"} <= set(expected)
    assert media_type(b"a/b; " + value).parameters == found.parameters


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"BASE64", "base64", id="case"),
        pytest.param(b" 7bit (yes)", "7bit", id="comment"),
        pytest.param(b"8bit;", "8bit", id="semicolon"),
        pytest.param(b"quoted-printable, really", "quoted-printable", id="comma"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"\xff", "", id="no-token"),
        pytest.param(b'"base64"', "", id="quoted"),
    ],
)
def test_token(value: bytes, expected: str) -> None:
    assert token(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a (b) c", b"a  c", id="one"),
        pytest.param(b"a (b (c) d) e", b"a  e", id="nested"),
        pytest.param(b'a "(b)" (c)', b'a "(b)" ', id="not-in-quotes"),
        pytest.param(b'"a\\" (b)" (c)', b'"a\\" (b)" ', id="quoted-pair-in-quotes"),
        pytest.param(b"a (b\\) c) d", b"a  d", id="quoted-pair-in-comment"),
        pytest.param(b"a (b (c) d", b"a ", id="never-closed"),
        pytest.param(b"a) b", b"a) b", id="stray-end"),
        pytest.param(b"(a) (b)", b" ", id="two"),
    ],
)
def test_without_comments(value: bytes, expected: bytes) -> None:
    assert without_comments(value) == expected


@pytest.mark.parametrize("piece", [b";a*1=b", b' ("\\', b'a="', b"a*0*=%", b"(((", b'"\\', b";", b"a/", b"''"])
def test_parsing_is_linear(piece: bytes) -> None:
    """A quadratic parser would take hours for these megabytes."""
    begin = time.process_time()
    for parse in (media_type, disposition):
        for parameter in parse(b"a/b;" + piece * 500_000).parameters:
            assert len(parameter.text) < 70_000
    assert time.process_time() - begin < 30
