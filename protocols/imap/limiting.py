"""How many messages one command works on (RFC 9738): of more than that, those with the highest UIDs."""

from dataclasses import replace

from protocols.imap.reply import Reply, no
from protocols.imap.session import Session


def highest(session: Session, uids: list[int]) -> tuple[list[int], str]:
    """Of ascending `uids` those that a command may work on, and the response code when that is not all of them."""
    limit = session.settings.message_limit
    if not limit or len(uids) <= limit:
        return uids, ""
    kept = uids[-limit:]
    return kept, f"MESSAGELIMIT {limit} {kept[0]}"  # RFC 9738 §3.1: and the lowest UID processed


def told(session: Session, reply: Reply, code: str) -> Reply:
    """The answer with the code of `highest`; beside another code it goes into an untagged NO (RFC 9738 §3.1)."""
    if not code:
        return reply
    if reply.code:
        session.writer.status("NO", "Only messages with the highest UIDs were processed", code)
        return reply
    return replace(reply, text=f"{reply.text} for the messages with the highest UIDs", code=code)


def too_many(session: Session, count: int) -> Reply | None:
    """The refusal of a command that works on all or nothing."""
    limit = session.settings.message_limit
    return no("Too many messages", f"MESSAGELIMIT {limit}") if limit and count > limit else None


def too_many_saved(session: Session, uids: list[int]) -> Reply | None:
    """The same for COPY, which may have a limit that other commands have not (RFC 9738 §3)."""
    limit = session.settings.save_limit_in_force
    if not limit or len(uids) <= limit:
        return None
    return no("Too many messages to copy, try a smaller set", f"MESSAGELIMIT {limit} {uids[-limit]}")


def too_many_appended(session: Session, count: int) -> Reply | None:
    limit = session.settings.save_limit_in_force
    return no("Too many messages", f"MESSAGELIMIT {limit}") if limit and count > limit else None
