"""INPROGRESS (RFC 9585): a client that waits for a long command is told that it goes on, and does not give up."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from protocols.imap.session import Session
from protocols.imap.wire.response import quoted_or_literal


@contextmanager
def in_progress(session: Session, tag: str) -> Iterator[None]:
    """Says so every `progress_interval` while it is entered, between two responses and at the client's pace."""
    loop = asyncio.get_running_loop()
    interval = session.settings.progress_interval

    handle: asyncio.TimerHandle

    def tell() -> None:
        nonlocal handle
        handle = loop.call_later(interval, tell)
        if not session.writer.torn and not session.connection.write_paused and not session.connection.is_closing:
            name = quoted_or_literal(tag.encode("ascii")).decode("ascii")
            # RFC 9585 §4: how far it is, and how far it is to go, are not known here.
            session.writer.status("OK", "Still working", f"INPROGRESS ({name} NIL NIL)")
            session.writer.push()

    handle = loop.call_later(interval, tell)
    try:
        yield
    finally:
        handle.cancel()
