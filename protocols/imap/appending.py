"""Messages that a client sends: taken in as streamed literals, put together, made ready for the store.

They are held in memory while their share of the octet budget is held; what cannot be stored is refused before its first
octet where the client waits for that.
"""

import re

from duckmail.errors import TooLarge
from duckmail.mime.binary import without_binary
from duckmail.model.message import NewMessage
from protocols.imap import urls
from protocols.imap.session import Session
from protocols.imap.wire.append import AppendMessage
from protocols.imap.wire.framer import LiteralAnnounced

FREE_OCTETS = 64 * 1024  # of one command that need no share of the budget

_URL = re.compile(rb".*[( ]URL ", re.IGNORECASE | re.DOTALL)


async def announced(session: Session, event: LiteralAnnounced, path: str | None) -> bool:
    """Decides about a literal of a message: True streams it.

    Args:
        path: where the message goes; None while the literal is the mailbox's name itself.

    Raises:
        TooLarge: RFC 7889 §5: before any octet is sent, if the client waits.
        NotFound, NotPermitted: so is a mailbox that does not exist told before a large message.
        Unavailable: no share of the budget.
    """
    if path is None or _URL.fullmatch(event.prefix):
        return False
    if event.size > session.settings.message_size:
        raise TooLarge
    if sum(map(len, session.uploads)) + event.size > FREE_OCTETS:
        await session.mail.mailbox(path, "i")
        hold = session.services.budget.reserve(event.size, session.settings.reserve_timeout)
        await session.upload_hold.enter_async_context(hold)
    return True


async def collect(session: Session, message: AppendMessage) -> NewMessage:
    """One message, its parts joined. Raises: TooLarge, BadUrl, UnknownEncoding, Unavailable."""
    raw: bytes | bytearray
    if len(message.parts) == 1 and not isinstance(message.parts[0], str):
        raw = session.uploads[message.parts[0].number]
    else:
        raw = await _joined(session, message)
    if message.binary:
        raw = await session.services.threads.run(without_binary, raw)
    return NewMessage(await session.mail.prepare(raw), message.flags, message.date)


async def _joined(session: Session, message: AppendMessage) -> bytearray:
    """RFC 4469 §3. Raises: BadUrl, TooLarge: §4.2: the parts are small, the message is not."""
    joined = bytearray()
    for part in message.parts:
        if isinstance(part, str):
            octets = await urls.section(session.mail, urls.parse(part), session.selected)
            if len(joined) + octets.size > session.settings.message_size:
                raise TooLarge
            if octets.size > FREE_OCTETS:
                hold = session.services.budget.reserve(octets.size, session.settings.reserve_timeout)
                await session.upload_hold.enter_async_context(hold)
            joined += await octets.read()
        else:
            joined += session.uploads[part.number]
            if len(joined) > session.settings.message_size:
                raise TooLarge
    return joined
