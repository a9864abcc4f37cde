"""Messages made from a seed: ordinary mail, each with a Message-ID of its own, with exactly the size asked for."""

import binascii
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

_TEXT = (
    "about after again agree answer before begin best between budget change city client come copy could customer date "
    "day delivery detail document during early every example figure find first follow friday from general give group "
    "have help here house idea invoice keep kind know large last later letter line list little long look make march "
    "meeting minute monday month morning most name near never next note number offer office often only open order "
    "other paper part people place plan point price problem project question quite read ready reason receive reply "
    "report right room same schedule second see send service should show since small some soon start still store "
    "summer system table take team thank their there these thing think three time today travel under until update "
    "very visit wait water week well what when where which while will with without word work world write year"
)
WORDS = _TEXT.split()
NAMES = ("Anna Berg", "Boris Lang", "Carla Diaz", "Dmitri Novak", "Eva Lind", "Frank Moss", "Gina Rossi", "Hugo Blum")
BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

# Planted for the searches: about one message in twenty has the word in its text, one in ten the word in its subject.
TEXT_WORD = "zanzibar"
SUBJECT_WORD = "quarterly"

_TRACE = (
    "Received: from mx{mx}.example.net (mx{mx}.example.net [192.0.2.{mx}])\r\n"
    "\tby mail.example.org (Postfix) with ESMTPS id {queue}\r\n"
    "\tfor <{to}>; {date}\r\n"
    "Received: from laptop.example.net (unknown [198.51.100.{mx}])\r\n"
    "\tby mx{mx}.example.net (Postfix) with ESMTPSA id {queue2}; {date}\r\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail;\r\n"
    "\th=from:to:subject:date:message-id; bh={body_hash}=;\r\n"
    "\tb={signature}\r\n"
)
_HEADER = (
    "From: {sender_name} <{sender}>\r\n"
    "To: {to_name} <{to}>\r\n"
    "Subject: {subject}\r\n"
    "Date: {date}\r\n"
    "Message-ID: <{message_id}@example.net>\r\n"
    "MIME-Version: 1.0\r\n"
)
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Mails:
    """An endless supply; equal seeds give equal mails in equal order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._made = 0
        self._sentences = [self._sentence() for _ in range(400)]

    def _sentence(self) -> str:
        words = self._random.choices(WORDS, k=self._random.randint(6, 14))
        return " ".join(words).capitalize() + "."

    def _token(self, length: int) -> str:
        return "".join(self._random.choices(_BASE64[:62], k=length))

    def small(self, size: int = 4096, sender: str = "") -> bytes:
        """Plain text and HTML as alternatives, `size` octets in all (at least 2,000).

        With a `sender`, as his mail program hands it over: from him, and without trace fields.
        """
        boundary = f"=_{self._token(24)}"
        text = self._paragraphs((size - 1400) // 3)
        if self._random.random() < 0.05:
            text += f"It is about {TEXT_WORD} again.\r\n"
        html = "".join(f"<p>{line}</p>\r\n" for line in text.split("\r\n") if line)
        parts = [
            self._header(sender),
            f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n',
            f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            text,
            f"\r\n--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\n\r\n<html><body>\r\n",
            html,
        ]
        end = f"</body></html>\r\n\r\n--{boundary}--\r\n"
        return _fill("".join(parts), end, size)

    def large(self, size: int) -> bytes:
        """A short text and one base64 attachment of random octets, `size` octets in all."""
        boundary = f"=_{self._token(24)}"
        head = (
            self._header() + f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
            f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{self._paragraphs(600)}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream; name=data.bin\r\n"
            "Content-Disposition: attachment; filename=data.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        )
        end = f"\r\n--{boundary}--\r\n"
        lines = (size - len(head) - len(end)) // 78
        # 57 octets are one line of 76 characters.
        encoded = _base64_lines(self._random.randbytes(57 * lines))
        return head.encode() + encoded + end.encode()

    def _paragraphs(self, size: int) -> str:
        lines: list[str] = []
        while size > 0:
            line = self._random.choice(self._sentences)
            lines.append(line)
            size -= len(line) + 2
        return "\r\n".join(lines) + "\r\n"

    def _header(self, address: str = "") -> str:
        self._made += 1
        rng = self._random
        sender, to = rng.sample(NAMES, 2)
        subject = " ".join(rng.choices(WORDS, k=5)).capitalize()
        if rng.random() < 0.1:
            subject += f" {SUBJECT_WORD}"
        return (_HEADER if address else _TRACE + _HEADER).format(
            mx=rng.randint(1, 250),
            queue=self._token(12),
            queue2=self._token(12),
            date=format_datetime(BEGIN + timedelta(seconds=37 * self._made)),
            body_hash=self._token(43),
            signature="\r\n\t ".join(self._token(72) for _ in range(4)),
            sender_name=sender,
            sender=address or f"{sender.split()[0].lower()}@example.net",
            to_name=to,
            to=f"{to.split()[0].lower()}@mail.test",
            subject=subject,
            message_id=f"{self._made:08d}.{self._token(16)}",
        )


def _base64_lines(octets: bytes) -> bytes:
    return b"".join(
        binascii.b2a_base64(octets[at : at + 57], newline=False) + b"\r\n" for at in range(0, len(octets), 57)
    )


def _fill(head: str, end: str, size: int) -> bytes:
    """`head`, one more paragraph of as many octets as are missing, `end`."""
    missing = size - len(head) - len(end) - len("<p></p>\r\n")
    words = " ".join(WORDS)
    text = "".join(words[at : at + 70] + "\r\n" for at in range(0, len(words), 70))
    filling = (text * (missing // len(text) + 1))[: max(0, missing)]
    if filling.endswith("\r"):  # a line end was cut
        filling = filling[:-1] + " "
    return f"{head}<p>{filling}</p>\r\n{end}".encode()
