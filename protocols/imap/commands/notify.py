"""NOTIFY (RFC 5465)."""

from protocols.imap.command import LOGGED_IN, command
from protocols.imap.notifying import Notifier
from protocols.imap.reply import Reply, no, ok
from protocols.imap.session import Session
from protocols.imap.wire.notify import EVENTS, Request, notify


async def _run(session: Session, request: Request) -> Reply:
    if request.unsupported:
        return no("Not all of these events are known", f"BADEVENT ({' '.join(EVENTS.values())})")
    await session.stop_notifying()  # RFC 5465 §3.1: what is asked for replaces what was
    if request.groups:
        notifier = Notifier(session, request)
        try:
            await notifier.start()
        except BaseException:
            await notifier.stop()
            raise
        session.notifying = notifier
    return ok("NOTIFY completed")


NOTIFY = command("NOTIFY", LOGGED_IN, notify, _run)
