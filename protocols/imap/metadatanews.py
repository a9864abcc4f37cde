"""What NOTIFY tells of metadata (RFC 5465 §5.6, §5.7): the names of entries that are not what they were.

As of mailboxes, what happened is the difference between now and what the client knows of; values are kept as digests.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from duckmail.model.mailbox import Mailbox
from duckmail.services.mail import Mail
from protocols.imap.wire.metadata import metadata_changed

SERVER = ""


@dataclass(frozen=True, slots=True)
class _Entries:
    """Of one mailbox, or of the server. `stamp`: as long as it is the same, so are they."""

    path: str
    stamp: tuple[int, str | None]
    digests: Mapping[str, bytes]


class MetadataNews:
    """Of one NOTIFY. `wanted`: whether it asks for a mailbox. `server`: and for the server."""

    def __init__(self, mail: Mail, wanted: Callable[[Mailbox], bool], *, server: bool) -> None:
        self._mail = mail
        self._wanted = wanted
        self._server = server
        self._known: dict[str, _Entries] = {}
        self._found: dict[str, _Entries] = {}
        self._own = 0  # changes by the session itself

    async def start(self, mailboxes: Iterable[Mailbox]) -> None:
        """What there is now is no news. Raises: Unavailable."""
        await self.look(mailboxes)
        self._known, self._found = self._found, {}

    async def look(self, mailboxes: Iterable[Mailbox]) -> None:
        """Reads what may have changed, in one statement. Raises: Unavailable."""
        asked = {mailbox.id: mailbox for mailbox in mailboxes if self._may(mailbox)}
        self._known = {key: entries for key, entries in self._known.items() if key in asked or key == SERVER}
        changed = [mailbox for mailbox in asked.values() if not self._is_known(mailbox)]
        places = [*([None] if self._server else []), *changed]
        found, own = [], -1
        while places and own != self._own:  # what was read beside a change of the session's own is read again
            own = self._own
            found = await self._mail.annotations.of(places)
        self._found = {
            place.id if place else SERVER: _Entries(
                place.path if place else "", _stamp(place), {name: _digest(value) for name, value in entries.items()}
            )
            for place, entries in zip(places, found, strict=True)
        }

    def lines(self, utf8: bool) -> Iterator[bytes]:
        """What `look` found, told once. RFC 5465 §5.6: also what is gone."""
        for key, now in self._found.items():
            before = self._known[key].digests if key in self._known else {}
            names = sorted({name for name, _ in before.items() ^ now.digests.items()})
            if names:
                yield metadata_changed(now.path, names, utf8)
        self._known |= self._found
        self._found = {}

    def own(self, place: Mailbox | None, changes: Mapping[str, bytes | None]) -> None:
        """What the session itself has set is no news to it (RFC 5464 §4.3)."""
        self._own += 1
        key = place.id if place else SERVER
        for entries in (self._known, self._found):
            if key in entries:
                digests = {name: value for name, value in entries[key].digests.items() if name not in changes}
                digests |= {name: _digest(value) for name, value in changes.items() if value is not None}
                entries[key] = replace(entries[key], digests=digests)

    def _may(self, mailbox: Mailbox) -> bool:
        """RFC 5465 §5: with the rights l and r; and with those of GETMETADATA."""
        return self._wanted(mailbox) and self._mail.places.may(mailbox, "lr") and self._mail.annotations.may(mailbox)

    def _is_known(self, mailbox: Mailbox) -> bool:
        return mailbox.id in self._known and self._known[mailbox.id].stamp == _stamp(mailbox)


def _stamp(place: Mailbox | None) -> tuple[int, str | None]:
    return (place.annotated, place.special_use) if place else (0, None)


def _digest(value: bytes) -> bytes:
    return sha256(value).digest()
