"""The octets behind an IMAP URL, of mail that the account may read (RFC 4469 §3, RFC 5092)."""

from collections.abc import Sequence
from urllib.parse import quote

from duckmail.errors import InvalidInput, NotFound, NotPermitted
from duckmail.model.message import Needs, StoredMessage
from duckmail.services.mail import Mail
from protocols.imap import sections
from protocols.imap.sections import Octets
from protocols.imap.selected import Selected
from protocols.imap.wire import url
from protocols.imap.wire.url import InvalidUrl, MessageUrl
from storage.views import View

MAX_TOLD = 1000  # characters of a URL in a response code

_NEEDS = Needs.CONTENT | Needs.HEADER | Needs.BODYSTRUCTURE


class BadUrl(InvalidInput):
    """A URL that leads to nothing here: `code` is for the answer (RFC 4469 §4.1)."""

    def __init__(self, text: str, bad: str) -> None:
        super().__init__(text)
        self.code = 'BADURL "' + quote(bad[:MAX_TOLD], safe="/;=:@&~+,.*!()$-_%?#") + '"'


def parse(text: str) -> MessageUrl:
    """Raises: BadUrl."""
    try:
        return url.parse(text)
    except InvalidUrl:
        raise BadUrl("Not a URL of a message", text) from None


async def section(mail: Mail, wanted: MessageUrl, selected: Selected | None) -> Octets:
    """The part of a message that the URL names. Raises: BadUrl, Unavailable."""
    if wanted.host is not None:
        raise BadUrl("Only URLs of this server without its name are followed", wanted.text)
    octets = await sections.octets_of(await message(mail, wanted, selected), wanted.section)
    if octets is None:
        raise BadUrl("There is no such part", wanted.text)
    return octets


async def message(mail: Mail, wanted: MessageUrl, selected: Selected | None = None) -> StoredMessage:
    """With its content and its structure. Raises: BadUrl, Unavailable."""
    if wanted.mailbox is None:
        if selected is None:
            raise BadUrl("No mailbox is selected", wanted.text)
        found = await _fetched(mail, selected.view, wanted.uid)
    else:
        found = await _elsewhere(mail, wanted, wanted.mailbox)
    if not found:
        raise BadUrl("There is no such message", wanted.text)
    return found[0]


async def _elsewhere(mail: Mail, wanted: MessageUrl, path: str) -> list[StoredMessage]:
    listener = _Nobody()
    try:
        view = await mail.open(path, listener)
    except (NotFound, NotPermitted, InvalidInput):
        raise BadUrl("There is no such mailbox", wanted.text) from None
    try:
        if wanted.uidvalidity not in (None, view.mailbox.uidvalidity):
            raise BadUrl("The mailbox is another one now", wanted.text)
        return await _fetched(mail, view, wanted.uid)
    finally:
        mail.close_view(view, listener)


async def _fetched(mail: Mail, view: View, uid: int) -> list[StoredMessage]:
    return [one async for batch in mail.fetch(view, [uid], _NEEDS) for one in batch]


class _Nobody:
    """Holds a view for a moment without following its changes."""

    def view_changed(self, expunged: Sequence[int]) -> None:
        """Nothing is announced from it."""
