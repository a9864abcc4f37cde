"""LIST, LSUB and XLIST (RFC 3501 §6.3.8, §6.3.9), CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154), LIST-EXTENDED
(RFC 5258), LIST-STATUS (RFC 5819), LIST-METADATA (RFC 9590) and LIST-MYRIGHTS (RFC 8440).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from duckmail.model.mailbox import INBOX, Mailbox
from duckmail.model.sharing import with_obsolete
from duckmail.runtime.turns import Turns
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.commands.status import HIGHESTMODSEQ, status, status_items
from protocols.imap.patterns import Pattern
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.tree import Entry, entries
from protocols.imap.wire.metadata import entries as entries_of
from protocols.imap.wire.metadata import metadata_response
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import list_response, my_rights

# Options, of selection (RFC 5258 §3.1, RFC 6154 §3), of the answer (RFC 5258 §3.2, RFC 5819 §2, RFC 9590 §3,
# RFC 8440 §3), or both.
SUBSCRIBED, REMOTE, RECURSIVEMATCH = "SUBSCRIBED", "REMOTE", "RECURSIVEMATCH"
CHILDREN, SPECIAL_USE, STATUS, METADATA = "CHILDREN", "SPECIAL-USE", "STATUS", "METADATA"
MYRIGHTS = "MYRIGHTS"
XLIST_NAMES = {"\\Junk": "\\Spam", "\\Flagged": "\\Starred", "\\All": "\\AllMail"}
MAX_PATTERNS = 100
MANY = 100  # mailboxes; the tree of more is made in a thread


@dataclass(frozen=True, slots=True)
class _Arguments:
    """`extended`: written with what RFC 5258 adds. `status`: items of RETURN (STATUS ...) (RFC 5819).
    `metadata`: entries of RETURN (METADATA ...) (RFC 9590)."""

    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    extended: bool = False


def _parse_plain(parser: Parser) -> _Arguments:
    parser.sp()
    reference = parser.mailbox()
    parser.sp()
    return _Arguments(reference, (parser.list_mailbox(),))


def _parse(parser: Parser) -> _Arguments:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] (RFC 5258 §6)."""
    parser.sp()
    selection: list[str] = []
    extended = False
    if parser.peek() == ord("("):
        selection, extended = _selection(parser), True
        parser.sp()
    reference = parser.mailbox()
    parser.sp()
    if parser.peek() == ord("("):
        patterns, extended = parser.list_of(parser.list_mailbox), True
        if len(patterns) > MAX_PATTERNS:
            raise ParseError("Too many patterns")
    else:
        patterns = [parser.list_mailbox()]
    returned: dict[str, Sequence[str]] = {}
    if parser.try_byte(b" "):
        if parser.keyword() != "RETURN":
            raise ParseError("Expected RETURN")
        parser.sp()
        returned, extended = dict(parser.list_of(lambda: _return_option(parser), empty=True)), True
    status, metadata = tuple(returned.get(STATUS, ())), tuple(returned.get(METADATA, ()))
    chosen = frozenset(selection), frozenset(returned)
    return _Arguments(reference, tuple(patterns), *chosen, status, metadata, extended)


def _selection(parser: Parser) -> list[str]:
    options = parser.list_of(parser.keyword, empty=True)
    if any(option not in (SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL_USE) for option in options):
        raise ParseError("Unknown option")
    if RECURSIVEMATCH in options and not {SUBSCRIBED, SPECIAL_USE}.intersection(options):
        raise ParseError("RECURSIVEMATCH needs another option")  # RFC 5258 §3: it has nothing to match alone
    return options


def _return_option(parser: Parser) -> tuple[str, Sequence[str]]:
    option = parser.keyword()
    if option == STATUS:
        parser.sp()
        return option, status_items(parser)
    if option == METADATA:
        parser.sp()
        if parser.peek() != ord("("):
            raise ParseError("Expected '('")
        return option, entries_of(parser)
    if option not in (SUBSCRIBED, CHILDREN, SPECIAL_USE, MYRIGHTS):
        raise ParseError("Unknown option")
    return option, []


async def _run(session: Session, arguments: _Arguments) -> Reply:
    writer, utf8 = session.writer, session.utf8
    if arguments.patterns == ("",) and not arguments.extended:
        # RFC 3501 §6.3.8: an empty mailbox name asks for the separator and the root of the reference.
        writer.untagged(list_response(["\\Noselect"], "", utf8))
        return ok("LIST completed")
    if HIGHESTMODSEQ in arguments.status:
        session.enable_condstore()
    texts = [arguments.reference + pattern for pattern in arguments.patterns]
    metadata = await _metadata(session, arguments.metadata)
    async for entry in _matching(session, *texts):
        children = _child_info(entry, arguments.selection)
        if not _chosen(entry, arguments.selection) and not children:
            continue
        attributes = _attributes(entry)
        if entry.mailbox is not None and entry.mailbox.subscribed and _tells_subscribed(arguments):
            attributes.append("\\Subscribed")
        writer.untagged(list_response(attributes, entry.path, utf8, extended=children))
        if entry.mailbox is not None:
            async for data in _data(session, entry.mailbox, arguments, metadata):
                writer.untagged(data)
        await writer.room()
    return ok("LIST completed")


async def _metadata(session: Session, names: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """The entries of all mailboxes, by id, in one query; none when none are asked for."""
    if not names:
        return {}
    mailboxes = [each for each in await session.mail.mailboxes() if session.mail.annotations.may(each)]
    found = await session.mail.annotations.of(mailboxes)
    return {mailbox.id: entries for mailbox, entries in zip(mailboxes, found, strict=True)}


async def _data(
    session: Session, mailbox: Mailbox, arguments: _Arguments, metadata: dict[str, dict[str, bytes]]
) -> AsyncIterator[bytes]:
    """What follows the LIST response of a mailbox, as far as it may be known: RFC 5819 §2, RFC 8440 §3, RFC 9590
    §3.1."""
    if MYRIGHTS in arguments.returned:
        yield my_rights(mailbox.path, with_obsolete(session.mail.places.rights(mailbox)), session.utf8)
    if arguments.status and session.mail.places.may(mailbox, "r"):
        yield await status(session, mailbox, arguments.status)
    if arguments.metadata and mailbox.id in metadata:
        found = metadata[mailbox.id]
        yield metadata_response(mailbox.path, [(name, found.get(name)) for name in arguments.metadata], session.utf8)


def _chosen(entry: Entry, selection: frozenset[str]) -> bool:
    """All selection options hold. RFC 5258 §3.1: REMOTE only adds names, of which there are none here."""
    mailbox = entry.mailbox
    if SUBSCRIBED in selection and not (mailbox is not None and mailbox.subscribed):
        return False
    return SPECIAL_USE not in selection or (mailbox is not None and bool(mailbox.special_use))


def _child_info(entry: Entry, selection: frozenset[str]) -> bytes:
    """RFC 5258 §3.5: below this name are some that the options choose."""
    if {RECURSIVEMATCH, SUBSCRIBED} <= selection and entry.has_subscribed_children:
        return b'("CHILDINFO" ("SUBSCRIBED"))'
    return b""


def _tells_subscribed(arguments: _Arguments) -> bool:
    return SUBSCRIBED in arguments.selection or SUBSCRIBED in arguments.returned


async def _matching(session: Session, *texts: str) -> AsyncIterator[Entry]:
    """The names that one of the patterns `texts` matches, in order, each once."""
    patterns = [Pattern(text) for text in texts]
    turns = Turns()
    mailboxes = await session.mail.mailboxes()
    many = len(mailboxes) > MANY
    for entry in await session.services.threads.run(entries, mailboxes) if many else entries(mailboxes):
        if any(pattern.matches(entry.path) for pattern in patterns):
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
    text = arguments.reference + arguments.patterns[0]
    async for entry in _matching(session, text):
        if entry.mailbox is not None and entry.mailbox.subscribed:
            writer.untagged(list_response([], entry.path, utf8, "LSUB"))
        elif entry.has_subscribed_children and text.endswith("%"):
            # RFC 3501 §6.3.9: with a final `%`, a name that is not subscribed stands for its subscribed children.
            writer.untagged(list_response(["\\Noselect"], entry.path, utf8, "LSUB"))
        await writer.room()
    return ok("LSUB completed")


LIST = command("LIST", LOGGED_IN, _parse, _run)


async def _run_xlist(session: Session, arguments: _Arguments) -> Reply:
    """LIST as it was before RFC 6154: INBOX has a use as well, and two uses have other names."""
    text = arguments.reference + arguments.patterns[0]
    async for entry in _matching(session, text):
        attributes = [XLIST_NAMES.get(name, name) for name in _attributes(entry)]
        if entry.path == INBOX:
            attributes.append("\\Inbox")
        session.writer.untagged(list_response(attributes, entry.path, session.utf8, "XLIST"))
        await session.writer.room()
    return ok("XLIST completed")


LSUB = command("LSUB", LOGGED_IN, _parse_plain, _run_lsub)
XLIST = command("XLIST", LOGGED_IN, _parse_plain, _run_xlist)
