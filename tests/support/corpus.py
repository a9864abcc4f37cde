"""Mail as it really comes: generated with every transfer encoding and charset, and CPython's own test messages.

`corpus()` gives (name, octets); names are unique, octets are always the same. `structured()` builds random but valid
messages from a seed.
"""

import base64
import quopri
import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

CHARSET_TEXTS = {
    "us-ascii": "Plain old text",
    "utf-8": "Grüße, 日本語, emoji 🎉, العربية",
    "iso-8859-1": "Déjà vu à Genève",
    "iso-8859-2": "Zażółć gęślą jaźń",
    "iso-8859-5": "Привет, мир",
    "iso-8859-7": "Καλημέρα κόσμε",
    "iso-8859-8": "שלום עולם",
    "iso-8859-9": "İstanbul'da güneş",
    "iso-8859-15": "Prix: 15 €, œuvre",
    "windows-1250": "Příliš žluťoučký kůň",
    "windows-1251": "Съешь ещё этих мягких французских булок",
    "windows-1252": "“Quoted” — 15 €",
    "windows-1256": "السلام عليكم",
    "windows-1257": "Ąžuolas žalias",
    "windows-1258": "Tiêng Viêt",
    "koi8-r": "Широкая электрификация",
    "koi8-u": "Їжак та ґанок",
    "gb2312": "中文邮件测试",
    "gbk": "繁體與简体",
    "gb18030": "漢字𠀀",
    "big5": "繁體中文郵件",
    "euc-kr": "한국어 메일",
    "ks_c_5601-1987": "안녕하세요",
    "iso-2022-kr": "안녕하세요",
    "shift_jis": "日本語メール",
    "euc-jp": "日本語の文章",
    "iso-2022-jp": "日本語の件名",
    "tis-620": "สวัสดีชาวโลก",
    "utf-16": "Both halves",
    "utf-7": "Hi Mom ☺!",
    "macintosh": "Crème brûlée",
    "cp437": "Größe Ä Ö Ü",
    "cp850": "Málaga ñandú",
    "cp866": "Кодировка ДОС",
    "hz-gb-2312": "己所不欲",
}
"""Charset name as in mail -> text that it can express."""

PYTHON_CODECS = {"tis-620": "tis_620", "hz-gb-2312": "hz", "ks_c_5601-1987": "cp949", "macintosh": "mac_roman"}
"""For the names that Python does not know by itself."""

HEAD = (
    b"Return-Path: <sender@example.org>\r\n"
    b"Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n"
    b"\tby mail.example.com with ESMTPS id 4XYZ;\r\n"
    b"\tMon, 01 Jan 2024 10:00:00 +0000\r\n"
    b"From: =?utf-8?q?J=C3=BCrgen?= <sender@example.org>\r\n"
    b"To: bob@example.com, =?iso-8859-1?B?QW5kcuk=?= <andre@example.net>\r\n"
    b"Date: Mon, 1 Jan 2024 11:00:00 +0100\r\n"
    b"MIME-Version: 1.0\r\n"
)

_WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do", "eiusmod")


def corpus() -> Iterator[tuple[str, bytes]]:
    """All of it: a few hundred messages, about 2 MB."""
    yield from charsets()
    yield from shapes()
    for seed in range(100):
        yield f"structured-{seed}", structured(seed)
    yield from cpython()


def charsets() -> Iterator[tuple[str, bytes]]:
    """Every charset of `CHARSET_TEXTS` in every transfer encoding and in the subject."""
    for charset, text in CHARSET_TEXTS.items():
        octets = encode(text * 3 + "\r\n", charset)
        word = base64.b64encode(encode(text, charset)).decode()
        head = HEAD + f"Subject: =?{charset}?B?{word}?=\r\nMessage-ID: <{charset}@example.org>\r\n".encode()
        for encoding, body in (
            ("8bit", octets),
            ("binary", octets + b"\r" + octets),
            ("base64", base64.encodebytes(octets * 20).replace(b"\n", b"\r\n")),
            ("quoted-printable", quopri.encodestring(octets).replace(b"\n", b"\r\n")),
        ):
            fields = f'Content-Type: text/plain; charset="{charset}"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
            yield f"charset-{charset}-{encoding}", head + fields.encode() + body


def encode(text: str, charset: str) -> bytes:
    return text.encode(PYTHON_CODECS.get(charset, charset))


def shapes() -> Iterator[tuple[str, bytes]]:
    """Odd but ordinary: line ends, missing pieces, every octet."""
    plain = HEAD + b"Subject: shape\r\n\r\nfirst line\r\n.dot line\r\n..two dots\r\nFrom here\r\n"
    every = bytes(range(256)) * 40
    yield "shape-crlf", plain
    yield "shape-lf", plain.replace(b"\r\n", b"\n")
    yield "shape-no-final-line-end", plain[:-2]
    yield "shape-many-final-line-ends", plain + b"\r\n" * 5
    yield "shape-header-only", HEAD
    yield "shape-header-only-no-line-end", HEAD[:-2]
    yield "shape-every-octet", HEAD + b"Content-Type: application/octet-stream\r\n\r\n" + every
    yield "shape-long-line", HEAD + b"\r\n" + b"x" * 100_000 + b"\r\n"
    yield (
        "shape-many-addresses",
        HEAD.replace(
            b"bob@example.com",
            b",\r\n ".join(b'"User %d" <user%d@example.com>' % (number, number) for number in range(500)),
        )
        + b"\r\n",
    )
    yield (
        "shape-raw-utf8-header",
        "Subject: Grüße 🎉\r\nFrom: Jürgen <jürgen@bücher.example>\r\n\r\n".encode() + b"x\r\n",
    )
    for line in (60, 64, 72, 76, 1000):
        digits = base64.b64encode(every)
        body = b"".join(digits[at : at + line] + b"\r\n" for at in range(0, len(digits), line))
        head = HEAD + b'Content-Type: image/png; name="a.png"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        yield f"shape-base64-lines-of-{line}", head + body
        yield f"shape-base64-lines-of-{line}-no-line-end", head + body[:-2]


def structured(seed: int) -> bytes:
    """A valid message with random nesting, CRLF line ends and parts of every kind."""
    rng = random.Random(seed)
    return HEAD + f"Subject: structured {seed}\r\n".encode() + _entity(rng, 0)


def _entity(rng: random.Random, depth: int) -> bytes:
    kind = rng.choice(("text", "text", "html", "file", "multipart", "multipart", "message"))
    if depth > 4 or kind in ("text", "html"):
        charset = rng.choice(("us-ascii", "utf-8", "iso-8859-1"))
        text = "\r\n".join(" ".join(rng.choices(_WORDS, k=rng.randint(0, 9))) for _ in range(rng.randint(0, 6)))
        return f"Content-Type: text/{'html' if kind == 'html' else 'plain'}; charset={charset}\r\n\r\n{text}".encode()
    if kind == "file":
        body = base64.encodebytes(rng.randbytes(rng.randint(0, 3000))).replace(b"\n", b"\r\n")
        return (
            b'Content-Type: application/pdf; name="doc.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
            b'Content-Disposition: attachment;\r\n filename="doc.pdf"\r\n\r\n' + body
        )
    if kind == "message":
        return b"Content-Type: message/rfc822\r\n\r\nSubject: embedded\r\nFrom: a@example.org\r\n" + _entity(
            rng, depth + 1
        )
    boundary = f"=_{rng.getrandbits(64):x}".encode()
    subtype = rng.choice((b"mixed", b"alternative", b"related", b"signed"))
    pieces = [b"Content-Type: multipart/" + subtype + b';\r\n boundary="' + boundary + b'"\r\n\r\n']
    if rng.random() < 0.3:
        pieces.append(b"This is a multi-part message in MIME format.\r\n")
    parts = [_entity(rng, depth + 1) for _ in range(rng.randint(1, 4))]
    pieces.extend(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    pieces.append(b"--" + boundary + b"--\r\n")
    if rng.random() < 0.2:
        pieces.append(b"epilogue\r\n")
    return b"".join(pieces)


def cpython() -> Iterator[tuple[str, bytes]]:
    """The messages of CPython's own email tests; none where Python was installed without its tests."""
    try:
        spec = find_spec("test.test_email")
    except ModuleNotFoundError:
        return
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted((Path(location) / "data").glob("msg_*.txt")):
            octets = path.read_bytes()
            yield f"cpython-{path.stem}", octets
            yield f"cpython-{path.stem}-crlf", octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
