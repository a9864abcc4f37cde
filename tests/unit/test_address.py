"""One spelling to store, one form to compare."""

import pytest

from duckmail.model import address


@pytest.mark.parametrize(
    ("written", "stored", "view"),
    [
        pytest.param(
            "John.Doe+Shop@Example.COM", "john.doe+shop@example.com", "johndoe@example.com", id="dots-label-case"
        ),
        pytest.param("  a@b.example ", "a@b.example", "a@b.example", id="trimmed"),
        pytest.param("A@xn--bcher-kva.example", "a@bücher.example", "a@bücher.example", id="idna"),
        pytest.param(
            "a@www.XN--BCHER-KVA.example", "a@www.bücher.example", "a@www.bücher.example", id="idna-any-label"
        ),
        pytest.param("u\u0308@bu\u0308cher.example", "ü@bücher.example", "ü@bücher.example", id="nfc"),
        pytest.param("Ü@B", "ü@b", "ü@b", id="lower-case-beyond-ascii"),
        pytest.param('"a b"@c', '"a b"@c', "a b@c", id="quoted"),
        pytest.param('"ab"@c', "ab@c", "ab@c", id="needless-quotes"),
        pytest.param('"a@b"@c', '"a@b"@c', "a@b@c", id="at-sign-inside"),
        pytest.param("+x@c", "+x@c", "+x@c", id="label-alone-stays"),
        pytest.param("*@c", "*@c", "*@c", id="wildcard"),
        pytest.param("info.*@c", "info.*@c", "info*@c", id="partial-wildcard"),
        pytest.param("a@xn--a-.example", "a@xn--a-.example", "a@xn--a-.example", id="ascii-hidden-in-punycode"),
        pytest.param(
            "a@xn--999999999.example", "a@xn--999999999.example", "a@xn--999999999.example", id="bad-punycode"
        ),
        pytest.param("a@xn--ü", "a@xn--ü", "a@xn--ü", id="punycode-not-ascii"),
        pytest.param("a@xn--" + "a" * 99, "a@xn--" + "a" * 99, "a@xn--" + "a" * 99, id="label-too-long"),
    ],
)
def test_forms(written: str, stored: str, view: str) -> None:
    assert address.normalise(written) == stored
    assert address.view(written) == view
    assert address.normalise(stored) == stored
    assert address.view(stored) == view


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("a@b", ("a", "b"), id="plain"),
        pytest.param("a", ("a", ""), id="no-domain"),
        pytest.param("", ("", ""), id="empty"),
        pytest.param('"a\\"b\\\\"@c', ('a"b\\', "c"), id="quoted-pairs"),
        pytest.param('"@c', ('"', "c"), id="one-quote"),
    ],
)
def test_split(text: str, parts: tuple[str, str]) -> None:
    assert address.split(text) == parts


def test_join_quotes_what_is_not_atoms() -> None:
    assert address.join("a.b", "c") == "a.b@c"
    assert address.join("a..b", "c") == '"a..b"@c'
    assert address.join('a"\\ b', "c") == '"a\\"\\\\ b"@c'
    assert address.join("", "c") == '""@c'
    assert address.join("postmaster", "") == "postmaster"
