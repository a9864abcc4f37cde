"""Messages as a mailbox file of Unix: one after the other, with LF line ends.

RFC 4155 names the format; of its variants this is the one that can be undone ("mboxrd"): every line that begins with
any number of `>` and `From ` gets one `>` more.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

# RFC 4155 §2 and appendix A: "From ", an address, the time of reception as of asctime, in UTC.
_SENDER = "MAILER-DAEMON"
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
LONGEST_HELD = 64 * 1024  # octets of a line that is not whole yet; a longer one is not begun by what would be quoted


def first_lines(moment: datetime, fields: Sequence[tuple[str, str]]) -> bytes:
    """What stands before a message: the separator, and header fields (ASCII names, values without line ends)."""
    lines = [f"From {_SENDER} {moment.astimezone(UTC).strftime('%a %b %d %H:%M:%S %Y')}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "".join(f"{line}\n" for line in lines).encode()


class Quoting:
    """One message on its way into the file: `feed` its octets in any pieces, then `finish`."""

    def __init__(self) -> None:
        self._held = b""
        self._inside = False  # of a line whose beginning is written

    def feed(self, octets: bytes) -> bytes:
        """What can be written by now."""
        text = self._held + octets
        whole = text.rfind(b"\n") + 1
        if not whole and len(text) > LONGEST_HELD:
            whole = len(text) - 1  # a CR at its end may belong to a line end
        self._held = text[whole:]
        return self._quoted(text[:whole])

    def finish(self) -> bytes:
        """The rest, and the empty line behind each message."""
        rest = self._quoted(self._held)
        inside, self._held = self._inside, b""
        return rest + (b"\n\n" if inside else b"\n")

    def _quoted(self, text: bytes) -> bytes:
        if not text:
            return b""
        plain = text.replace(b"\r\n", b"\n")
        head = b""
        if self._inside:
            end = plain.find(b"\n") + 1 or len(plain)
            head, plain = plain[:end], plain[end:]
        self._inside = not text.endswith(b"\n")
        return head + _FROM.sub(rb">\1", plain)
