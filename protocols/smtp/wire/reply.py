"""Replies: a code, an enhanced status code, text; and the error that carries one out of the grammar."""

import re
from dataclasses import dataclass

# RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets, code and CRLF counted.
MAX_TEXT = 512 - len("250-5.5.5 \r\n")

_UNPRINTABLE = re.compile("[^ -~]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; each element of `lines` becomes a line.

    `status`: enhanced status code (RFC 2034), or empty where there is none: greeting, LHLO/EHLO, 354.
    """

    code: int
    status: str
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        return self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.lines[-1]}"

    def to_bytes(self) -> bytes:
        """As it goes on the wire; what is not printable ASCII is replaced, so no text can add a line."""
        # RFC 2034 §4: the status code stands on each line of a multi-line reply.
        status = f"{self.status} " if self.status else ""
        out = []
        for number, line in enumerate(self.lines, 1):
            mark = " " if number == len(self.lines) else "-"
            out.append(f"{self.code}{mark}{status}{_UNPRINTABLE.sub('?', line)[:MAX_TEXT]}\r\n")
        return "".join(out).encode("ascii")


def reply(code: int, status: str, *lines: str) -> Reply:
    """A `Reply` with its lines as arguments."""
    return Reply(code, status, lines)


class CommandError(Exception):
    """The command cannot be accepted; `reply` says why to the client."""

    def __init__(self, code: int, status: str, text: str) -> None:
        self.reply = reply(code, status, text)
        super().__init__(str(self.reply))
