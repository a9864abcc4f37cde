"""A message as it has come, and what filters look at in it."""

from functools import cached_property
from typing import Protocol

from duckmail.mime.header import Lookup, decode
from duckmail.mime.summary import Summary
from duckmail.mime.text import decoded_text
from duckmail.model.address import normalise_domain, split
from duckmail.model.envelope import Envelope
from duckmail.model.filters import Facts
from duckmail.model.message import Content
from duckmail.model.spam import Spam

MAX_LINES = 50  # fields of one name that conditions look at
MAX_VALUE = 65536  # octets of one
MAX_TEXT = 1 << 20  # characters of text that conditions look at


class Prepared(Content, Protocol):
    """`storage.contents.prepared.PreparedContent`."""

    @property
    def summary(self) -> Summary: ...


class Contents(Protocol):
    """What is needed of `storage.contents.Contents`."""

    async def prepare(self, raw: bytes | bytearray, /) -> Prepared: ...

    async def examine(self, raw: bytes | bytearray, /) -> Prepared: ...


class Arrived:
    """A message as it has come, for all its recipients."""

    def __init__(
        self,
        envelope: Envelope,
        raw: bytes | bytearray,
        content: Prepared,
        header: Lookup,
        spam: Spam,
        *,
        lines: bytes = b"",
    ) -> None:
        """`lines`: of the header, what was found out about who it is from."""
        self.envelope = envelope
        self.raw = raw
        self.content = content
        self.header = header
        self.spam = spam
        self.lines = lines
        self.decisions: dict[str, dict[str, object]] = {}  # by account: what was decided, and by what

    @cached_property
    def from_domain(self) -> str:
        """Of the first address in From, normalised; "" without one."""
        found = self.content.summary.from_
        return normalise_domain(split(found[0][1])[1]) if found else ""

    @cached_property
    def facts(self) -> Facts:
        return Facts(
            from_=self._values(b"from", b"sender"),
            to=self._values(b"to", b"cc", b"delivered-to"),
            subject=self._values(b"subject"),
            list_id=self._values(b"list-id"),
            size=len(self.raw),
            attachments=any(not each.related for each in self.content.summary.attachments),
            text=self._text,
        )

    def _values(self, *names: bytes) -> str:
        lines = [value for name in names for value in self.header.all(name)[:MAX_LINES]]
        return "\n".join(decode(value[:MAX_VALUE]).lower() for value in lines)

    def _text(self) -> str:
        return "".join(decoded_text(self.raw, self.content.index, MAX_TEXT)).lower()
