"""IDLE (RFC 2177): changes are pushed the moment the view has them, without a timer between.

The session waits for its client only. What changes comes as a call from the view and is written from there, so an
idle connection costs no task of its own.
"""

import asyncio
from time import monotonic

from protocols.imap.command import LOGGED_IN, Trait, command, nothing
from protocols.imap.input import Silence
from protocols.imap.reply import Reply, bad, ok
from protocols.imap.session import Session

PAUSE = 0.1  # seconds until a client that was told half of many changes is looked at again


class _Push:
    """Writes the mailbox's changes while IDLE runs; several of one turn of the loop go out together."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._scheduled: asyncio.Handle | None = None

    def wake(self) -> None:
        """The view's call: the arrays have changed."""
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_soon(self._push)

    def stop(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()

    def _push(self) -> None:
        self._scheduled = None
        session = self._session
        if session.connection.is_closing:
            return
        if why := session.lost:
            session.bye(why)
            session.writer.push()
            session.connection.close()
        elif session.connection.write_paused:  # a client that does not read is told later, in fewer words
            if session.half_pushed:
                self._scheduled = asyncio.get_running_loop().call_later(PAUSE, self._push)
        elif session.push_updates():  # thousands of changes at once are a slice for each turn of the loop
            self.wake()


async def _run(session: Session, _: None) -> Reply:
    push = _Push(session)
    # Thunderbird (153) takes the number of compressed octets that have come for that of what they say, and in IDLE it
    # does not look for the rest before something new comes: so what is told in IDLE is as long as it is uncompressed.
    session.writer.filled = True
    try:
        session.writer.continuation(b"idling")
        await session.write_updates(expunge=True)
        if session.selected is not None:
            session.wake = push.wake
            if session.lost or session.selected.has_updates():  # changed while the client was waited for
                push.wake()
        line = await _done(session)
    finally:
        session.writer.filled = False
        push.stop()
        session.wake = None
    if line.upper() != b"DONE":
        return bad("Expected DONE")
    return ok("IDLE completed")


async def _done(session: Session) -> bytes:
    """The client's line. RFC 2177 §3: clients renew IDLE within 29 minutes, as servers may log them out at 30.

    Raises:
        Silence: it did not.
    """
    settings = session.settings
    ends = monotonic() + settings.idle_timeout
    wait = session.input.line
    while True:
        try:
            return await wait(min(max(0.0, ends - monotonic()), settings.idle_keepalive))
        except Silence:
            if monotonic() >= ends:
                raise
        wait = session.input.expected_line
        # Keeps the state in NAT routers and firewalls alive, and finds clients that have vanished.
        session.writer.status("OK", "Still here")
        await session.write_updates(expunge=True)


IDLE = command("IDLE", LOGGED_IN, nothing, _run, Trait.WAITS)
