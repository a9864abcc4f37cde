"""Mails for the searches: several languages, charsets and encodings, lists and attachments, sizes from 1 to 20 KB.

Words are made of syllables and drawn as in real text: a few are in nearly every mail, most in hardly any.
"""

import base64
import quopri
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.header import Header
from email.utils import format_datetime
from itertools import accumulate

BEGIN = datetime(2021, 1, 4, 8, 0, tzinfo=UTC)
STEP = timedelta(minutes=20)
VOCABULARY = 8000  # words of a language
SENTENCES = 4000  # of a language; texts are put together of them

# Planted words. Shares of all mails: in the text of one in a thousand, of one in twenty, of one in two.
RARE, USUAL, FREQUENT, NOWHERE = "zanzibar", "harbourmaster", "quittance", "xylophonist"
INSIDE = "bourmast"  # only inside of USUAL
FOREIGN = "накладная"  # in one in two of the Russian ones
LIST = "builders.lists.example.net"

_CONSONANTS, _VOWELS = "bcdfglmnprstvw", "aeiou"
_RUSSIAN = {ord(letter): 0x0430 + 3 * at % 32 for at, letter in enumerate(_CONSONANTS + _VOWELS)}
MAILERS = (
    "Mozilla Thunderbird 128",
    "Apple Mail (2.3826)",
    "Microsoft Outlook 16.0",
    "Roundcube 1.6",
    "Evolution 3.50",
)


@dataclass(frozen=True, slots=True)
class Language:
    """`letters`: what consonants and vowels become; `encoding`: of the texts' transfer."""

    name: str
    charset: str
    encoding: str
    share: float
    letters: Callable[[str], str]


def _cyrillic(word: str) -> str:
    return word.translate(_RUSSIAN)


def _kana(word: str) -> str:
    return "".join(chr(0x3042 + (ord(letter) * 7 + at) % 80) for at, letter in enumerate(word))


def _umlauts(word: str) -> str:
    return word.replace("au", "äu").replace("on", "ön").replace("ss", "ß")


LANGUAGES = (
    Language("english", "utf-8", "7bit", 0.5, str),
    Language("german", "iso-8859-1", "quoted-printable", 0.15, _umlauts),
    Language("german", "utf-8", "8bit", 0.1, _umlauts),
    Language("russian", "koi8-r", "base64", 0.1, _cyrillic),
    Language("russian", "utf-8", "base64", 0.05, _cyrillic),
    Language("japanese", "iso-2022-jp", "7bit", 0.1, _kana),
)


class Mixed:
    """An endless supply; equal seeds give equal mails in equal order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._made = 0
        words = [self._word() for _ in range(VOCABULARY)]
        weights = list(accumulate(1 / (rank + 3) for rank in range(VOCABULARY)))
        self._names = [f"{self._word().title()} {self._word().title()}" for _ in range(400)]
        plain = [
            self._random.choices(words, cum_weights=weights, k=self._random.randint(5, 14)) for _ in range(SENTENCES)
        ]
        self._sentences = {
            language: [" ".join(map(language.letters, sentence)).capitalize() + "." for sentence in plain]
            for language in LANGUAGES
        }

    def _word(self) -> str:
        pick = self._random.choice
        return (
            "".join(pick(_CONSONANTS) + pick(_VOWELS) for _ in range(self._random.randint(1, 4)))
            + pick("nrst ").strip()
        )

    def __call__(self) -> bytes:
        """The next mail."""
        rng = self._random
        self._made += 1
        language = rng.choices(LANGUAGES, [each.share for each in LANGUAGES])[0]
        text = self._text(language)
        boundary = f"=_{rng.getrandbits(96):024x}"
        parts = [_part("plain", text, language)]
        if rng.random() < 0.4:
            html = "".join(f'<p class="body">{line}</p>\r\n' for line in text.split("\r\n") if line)
            parts.append(_part("html", f"<html><body>\r\n{html}</body></html>\r\n", language))
        kind = "alternative"
        if rng.random() < 0.05:
            parts.append(_attachment(rng.randbytes(rng.randint(2000, 12_000)), self._made))
            kind = "mixed"
        head = self._header(language)
        if len(parts) == 1:
            return head + parts[0]
        head += f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
        mark = f"--{boundary}".encode()
        return head + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"

    def _text(self, language: Language) -> str:
        rng = self._random
        lines = rng.choices(self._sentences[language], k=rng.choice((4, 8, 8, 16, 16, 32, 100)))
        for word, share in ((RARE, 0.001), (USUAL, 0.05), (FREQUENT, 0.5)):
            if rng.random() < share:
                lines.append(f"{word} {rng.randint(100, 99_999)}")
        if language.name == "russian" and rng.random() < 0.5:
            lines.append(FOREIGN)
        return "\r\n".join(lines) + "\r\n"

    def _header(self, language: Language) -> bytes:
        rng = self._random
        sender, receiver, other = rng.sample(self._names, 3)
        subject = rng.choice(self._sentences[language])[:50].strip()
        if rng.random() < 0.1:
            subject += " quarterly"
        if not subject.isascii():
            subject = Header(subject, language.charset, 70, errors="replace").encode(linesep="\r\n")
        date = format_datetime(BEGIN + STEP * self._made)
        fields = [
            f"Received: from mx{rng.randint(1, 250)}.example.net by mail.test with ESMTPS id {rng.getrandbits(60):x};",
            f"\t{date}",
            f"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=mail; bh={self._octets(32)};",
            f"\tb={self._octets(48)}\r\n\t {self._octets(48)}",
            f"From: {sender} <{_address(sender)}>",
            f"To: {receiver} <{_address(receiver)}>",
            f"Subject: {subject}",
            f"Date: {date}",
            f"Message-ID: <{self._made:08d}.{rng.getrandbits(64):016x}@example.net>",
            "MIME-Version: 1.0",
        ]
        if rng.random() < 0.2:
            fields.append(f"Cc: {other} <{_address(other)}>")
        if rng.random() < 0.6:
            fields.append(f"X-Mailer: {rng.choice(MAILERS)}")
        if rng.random() < 0.1:
            fields.append(f"List-Id: Those who build <{LIST}>")
        if rng.random() < 0.3:
            fields.append(f"References: <{rng.randint(1, self._made):08d}.{rng.getrandbits(64):016x}@example.net>")
        return ("\r\n".join(fields) + "\r\n").encode()

    def _octets(self, count: int) -> str:
        return base64.b64encode(self._random.randbytes(count)).decode()


def _address(name: str) -> str:
    return f"{name.replace(' ', '.').lower()}@{len(name) % 7}.example.org"


def _part(subtype: str, text: str, language: Language) -> bytes:
    head = (
        f"Content-Type: text/{subtype}; charset={language.charset}\r\n"
        f"Content-Transfer-Encoding: {language.encoding}\r\n\r\n"
    )
    octets = text.encode(language.charset, "replace")
    if language.encoding == "base64":
        octets = _lines(octets)
    elif language.encoding == "quoted-printable":
        octets = quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return head.encode() + octets


def _attachment(octets: bytes, number: int) -> bytes:
    head = (
        f'Content-Type: application/pdf; name="paper-{number}.pdf"\r\n'
        "Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode() + _lines(octets)


def _lines(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
