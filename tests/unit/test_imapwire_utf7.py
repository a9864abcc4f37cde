"""Modified UTF-7, strict both ways (RFC 3501 §5.1.3)."""

import contextlib
import time

import pytest

from protocols.imap.wire import utf7

PAIRS = [
    pytest.param("", b"", id="empty"),
    pytest.param("INBOX/a b~", b"INBOX/a b~", id="printable-ascii-is-itself"),
    pytest.param("&", b"&-", id="ampersand"),
    pytest.param("a&-b", b"a&--b", id="ampersand-and-hyphen"),
    pytest.param("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", id="rfc-example"),
    pytest.param("台北日本語", b"&U,BTF2XlZyyKng-", id="rfc-example-in-one-shift"),
    pytest.param("Entwürfe", b"Entw&APw-rfe", id="german"),
    pytest.param("😀", b"&2D3eAA-", id="surrogate-pair"),
    pytest.param("\t", b"&AAk-", id="control-character"),
    pytest.param("ü&ü", b"&APw-&-&APw-", id="ampersand-between-shifts"),
]


@pytest.mark.parametrize(("name", "octets"), PAIRS)
def test_both_ways(name: str, octets: bytes) -> None:
    assert utf7.encode(name) == octets
    assert utf7.decode(octets) == name


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"&", id="open"),
        pytest.param(b"a&b", id="open-with-text"),
        pytest.param(b"&AGE-", id="printable-ascii-shifted"),
        pytest.param(b"&ACY-", id="ampersand-shifted"),
        pytest.param(b"&U,BTFw-&ZeVnLIqe-", id="superfluous-shift"),
        pytest.param(b"&APx-", id="bits-left-over"),
        pytest.param(b"&AP-", id="half-a-character"),
        pytest.param(b"&A-", id="one-digit"),
        pytest.param(b"&APw=-", id="padding"),
        pytest.param(b"&U/BTFw-", id="slash-in-base64"),
        pytest.param(b"&AP w-", id="space-in-base64"),
        pytest.param(b"&2D0-", id="lone-high-surrogate"),
        pytest.param(b"&3gA-", id="lone-low-surrogate"),
        pytest.param(b"\xc3\xbc", id="octets-above-127"),
        pytest.param(b"a\tb", id="control-character-bare"),
        pytest.param(b"\x7f", id="del"),
        pytest.param(b"&&-", id="two-ampersands"),
    ],
)
def test_refused(octets: bytes) -> None:
    with pytest.raises(utf7.Utf7Error):
        utf7.decode(octets)


def test_a_lone_surrogate_has_no_encoding() -> None:
    with pytest.raises(UnicodeEncodeError):
        utf7.encode("\ud800")


@pytest.mark.parametrize("piece", [b"&", b"&ZeVnL", b"&-&", b"&AGE-", b"a"])
def test_a_long_name_is_cheap(piece: bytes) -> None:
    """H5: cost grows with what was written: about 0.1 s; where each shift goes to the end of the name, minutes."""
    start = time.process_time()
    with contextlib.suppress(utf7.Utf7Error):
        utf7.decode(piece * (500_000 // len(piece)))
    assert time.process_time() - start < 10
