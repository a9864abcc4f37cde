"""A report on one day and domain as a message: a few words, and a file. Pure."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

MOST_TARGETS = 5  # that one domain may have
MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True)
class About:
    """`hostname`: who reports. `domain`: on whom, in ASCII. `contact`: an address. `id`: of the report."""

    hostname: str
    domain: str
    contact: str
    id: str
    day: date

    @property
    def range(self) -> tuple[datetime, datetime]:
        """First and last second of the day in UTC."""
        start = datetime.combine(self.day, time(), UTC)
        return start, start + timedelta(days=1, seconds=-1)

    def filename(self, unique: str, kind: str) -> str:
        """RFC 8460 §5.1, RFC 9990 §3.5.1: `unique` tells the reports of one day, `kind` ends the name."""
        start, end = (int(each.timestamp()) for each in self.range)
        return f"{self.hostname}!{self.domain}!{start}!{end}!{unique}.{kind}"


@dataclass(frozen=True, slots=True)
class File:
    """`kind`: the media type."""

    kind: str
    name: str
    octets: bytes


def message(headers: Sequence[str], boundary: str, words: Sequence[str], file: File) -> bytes:
    """`headers`: lines of ASCII, which say what kind of multipart it is."""
    lines = [
        *headers,
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *words,
        "",
        f"--{boundary}",
        f"Content-Type: {file.kind}",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f'\tfilename="{file.name}"',
        "",
        *base64.encodebytes(file.octets).decode("ascii").splitlines(),
        f"--{boundary}--",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
