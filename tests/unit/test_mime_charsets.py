"""The allow-list of charsets: what it has, what it must not have, and that no codec on it is slow (H11)."""

import random
import time

import pytest

from duckmail.mime import charsets
from tests.support.corpus import CHARSET_TEXTS, encode

CODECS = sorted({codec for codec in charsets._CODECS.values() if codec})


@pytest.mark.parametrize("charset", CHARSET_TEXTS)
def test_charsets_of_mail_are_known_and_decoded(charset: str) -> None:
    text = CHARSET_TEXTS[charset]
    octets = encode(text, charset)
    for name in (charset, charset.upper(), charset.replace("-", "_"), f" {charset} "):
        assert charsets.known(name)
        assert charsets.decode(octets, name) == text
    decoder = charsets.decoder(charset)
    assert "".join(decoder.decode(octets[at : at + 1]) for at in range(len(octets))) + decoder.decode(b"", True) == text


@pytest.mark.parametrize(
    "name",
    [
        *("punycode", "idna", "unicode_escape", "raw_unicode_escape", "rot13", "rot_13", "zlib", "zlib_codec", "bz2"),
        *("hex", "hex_codec", "base64", "base64_codec", "quopri", "uu", "undefined", "mbcs", "oem", "string_escape"),
        *("charmap", "", " ", "-", "x-", "utf-9", "x-unknown", "8bit", "utf-8/x", "é", "x" * 100_000),
    ],
)
def test_other_names_select_nothing(name: str) -> None:
    assert not charsets.known(name)
    assert charsets.decode("ü \\u0041 uryyb".encode(), name) == "ü \\u0041 uryyb"
    assert charsets.decode(b"\xfc", name) == "ü"


@pytest.mark.parametrize(
    ("octets", "charset", "expected"),
    [
        pytest.param(b"caf\xc3\xa9", "us-ascii", "café", id="ascii-that-is-utf8"),
        pytest.param(b"caf\xe9 \x80", "us-ascii", "café €", id="ascii-that-is-cp1252"),
        pytest.param(b"\x93x\x94", "iso-8859-1", "“x”", id="latin1-that-is-cp1252"),
        pytest.param(b"\xff\xfea\x00", "utf-16", "a", id="utf16-with-mark"),
        pytest.param(b"\xef\xbb\xbfa", "utf-8", "a", id="utf8-with-mark"),
        pytest.param(b"\xef\xbb\xbfa", "", "a", id="guess-with-mark"),
        pytest.param(b"a\xffb", "utf-8", "a\ufffdb", id="broken-utf8"),
        pytest.param(b"\x87@", "shift_jis", "①", id="shift-jis-that-is-cp932"),
        pytest.param(b"+2AA-x", "utf-7", "\ufffdx", id="lone-surrogate-in-utf7"),
        pytest.param(b"\x00\xd8", "utf-16-le", "\ufffd", id="lone-surrogate-in-utf16"),
        pytest.param(b"\xed\xa0\x80", "utf-8", "\ufffd\ufffd\ufffd", id="lone-surrogate-in-utf8"),
        pytest.param(b"", "utf-8", "", id="empty"),
    ],
)
def test_decode(octets: bytes, charset: str, expected: str) -> None:
    assert charsets.decode(octets, charset) == expected
    decoder = charsets.decoder(charset)
    assert decoder.decode(octets) + decoder.decode(b"", True) == expected


def test_guess_changes_its_mind_in_the_middle() -> None:
    decoder = charsets.decoder("")
    assert decoder.decode("ä".encode() + b"\xc3") == "ä"
    assert decoder.decode(b"x") == "Ãx"
    assert decoder.decode(b"\xc3\xa4", True) == "Ã¤"


def test_utf7_is_decoded_piece_by_piece_without_reading_twice() -> None:
    octets = b"+" + b"AGE" * 400_000 + b"-\n" + "ä".encode("utf-7")
    decoder = charsets.decoder("utf-7")
    begin = time.process_time()
    text = "".join(decoder.decode(octets[at : at + 4096]) for at in range(0, len(octets), 4096))
    text += decoder.decode(b"", True)
    assert time.process_time() - begin < 20
    assert text.endswith("ä")


RANDOM = random.Random(1).randbytes
HOSTILE = {
    "random": RANDOM(1_000_000),
    "high": b"\xff" * 1_000_000,
    "c1": b"\x80" * 1_000_000,
    "escapes": b"\x1b" * 1_000_000,
    "designations": b"\x1b$B!" * 250_000,
    "tildes": b"~{" * 500_000,
    "plus": b"+" * 1_000_000,
    "shifts": b"+AA-" * 250_000,
    "one-shift": b"+" + b"A" * 1_000_000,
    "surrogates": b"\x00\xd8" * 500_000,
    "lead-bytes": b"\xa1\x20" * 500_000,
}


@pytest.mark.parametrize("codec", CODECS)
def test_no_codec_is_quadratic_and_all_give_unicode(codec: str) -> None:
    name = next(name for name, value in charsets._CODECS.items() if value == codec)
    for label, octets in HOSTILE.items():
        begin = time.process_time()
        charsets.decode(octets, name).encode()  # lone surrogates would raise
        assert time.process_time() - begin < 20, label
