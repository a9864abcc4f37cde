"""LIST and LSUB (RFC 3501 §6.3.8, §6.3.9), CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from duckmail.runtime.turns import Turns
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.patterns import Pattern
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.tree import Entry, entries
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import list_response

SPECIAL_USE = "SPECIAL-USE"
MANY = 100  # mailboxes; the tree of more is made in a thread


@dataclass(frozen=True, slots=True)
class _Arguments:
    """`special_use`: only mailboxes that have one are wanted."""

    reference: str
    pattern: str
    special_use: bool = False


def _parse_lsub(parser: Parser) -> _Arguments:
    parser.sp()
    reference = parser.mailbox()
    parser.sp()
    return _Arguments(reference, parser.list_mailbox())


def _parse(parser: Parser) -> _Arguments:
    """RFC 6154 §3: `LIST (SPECIAL-USE) ...` selects, `RETURN (SPECIAL-USE)` asks for what is always given here."""
    parser.sp()
    selection: list[str] = []
    if parser.peek() == ord("("):
        selection = _options(parser)
        parser.sp()
    reference = parser.mailbox()
    parser.sp()
    pattern = parser.list_mailbox()
    if parser.try_byte(b" "):
        if parser.keyword() != "RETURN":
            raise ParseError("Expected RETURN")
        parser.sp()
        _options(parser)
    return _Arguments(reference, pattern, SPECIAL_USE in selection)


def _options(parser: Parser) -> list[str]:
    options = parser.list_of(parser.keyword, empty=True)
    if any(option != SPECIAL_USE for option in options):
        raise ParseError("Unknown option")
    return options


async def _run(session: Session, arguments: _Arguments) -> Reply:
    writer, utf8 = session.writer, session.utf8
    if not arguments.pattern:
        # RFC 3501 §6.3.8: an empty mailbox name asks for the separator and the root of the reference.
        writer.untagged(list_response(["\\Noselect"], "", utf8))
        return ok("LIST completed")
    async for entry in _matching(session, arguments.reference + arguments.pattern):
        use = entry.mailbox.special_use if entry.mailbox else None
        if use or not arguments.special_use:
            writer.untagged(list_response(_attributes(entry), entry.path, utf8))
            await writer.room()
    return ok("LIST completed")


async def _matching(session: Session, text: str) -> AsyncIterator[Entry]:
    """The names that the pattern `text` matches, in order."""
    pattern = Pattern(text)
    turns = Turns()
    mailboxes = await session.mail.mailboxes()
    many = len(mailboxes) > MANY
    for entry in await session.services.threads.run(entries, mailboxes) if many else entries(mailboxes):
        if pattern.matches(entry.path):
            yield entry
        await turns.pause()


def _attributes(entry: Entry) -> list[str]:
    children = "\\HasChildren" if entry.has_children else "\\HasNoChildren"
    if entry.mailbox is None:
        # RFC 5258 §3: \NonExistent implies \Noselect, but clients that know only RFC 3501 need to be told.
        return ["\\NonExistent", "\\Noselect", children]
    return [children, entry.mailbox.special_use] if entry.mailbox.special_use else [children]


async def _run_lsub(session: Session, arguments: _Arguments) -> Reply:
    writer, utf8 = session.writer, session.utf8
    text = arguments.reference + arguments.pattern
    async for entry in _matching(session, text):
        if entry.mailbox is not None and entry.mailbox.subscribed:
            writer.untagged(list_response([], entry.path, utf8, "LSUB"))
        elif entry.has_subscribed_children and text.endswith("%"):
            # RFC 3501 §6.3.9: with a final `%`, a name that is not subscribed stands for its subscribed children.
            writer.untagged(list_response(["\\Noselect"], entry.path, utf8, "LSUB"))
        await writer.room()
    return ok("LSUB completed")


LIST = command("LIST", LOGGED_IN, _parse, _run)
LSUB = command("LSUB", LOGGED_IN, _parse_lsub, _run_lsub)
