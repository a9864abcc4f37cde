"""ESEARCH: one search in several mailboxes (RFC 7377)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duckmail.errors import NotFound, NotPermitted
from duckmail.model.mailbox import INBOX, SEPARATOR, Mailbox
from protocols.imap import contexts, results
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import TAG_REUSED, Reply, bad, no, ok
from protocols.imap.results import Found
from protocols.imap.searching import Program, find
from protocols.imap.selected import Selected
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import mailbox_name
from protocols.imap.wire.scope import SELECTED, Scope, scopes
from protocols.imap.wire.search import SearchReturn, search_program
from storage.views import View

ALL = SearchReturn(("ALL",))
_IN = re.compile(rb"IN ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Arguments:
    scopes: tuple[Scope, ...]
    returned: SearchReturn
    program: Program

    @property
    def only_selected(self) -> bool:
        return all(scope.kind in SELECTED for scope in self.scopes)


def _parse(parser: Parser) -> _Arguments:
    """esearch = "ESEARCH" [SP "IN" SP "(" source-mbox ")"] [SP search-return-opts] SP search-program (RFC 7377 §5)."""
    parser.sp()
    found: tuple[Scope, ...] = (Scope("SELECTED"),)
    if parser.match(_IN):
        found = scopes(parser)
        parser.sp()
    returned, _, key = search_program(parser)
    arguments = _Arguments(found, returned or ALL, Program.of(key))
    if not arguments.only_selected:
        if "SAVE" in arguments.returned.options:
            raise ParseError("SAVE is for the selected mailbox alone")  # RFC 7377 §2.2
        if any(numbers.saved or not uid for numbers, uid in arguments.program.sets):
            raise ParseError("Sequence numbers are of the selected mailbox alone")  # RFC 7377 §2.1
    return arguments


async def _run(session: Session, arguments: _Arguments) -> Reply:
    update = arguments.returned.update  # RFC 7377 §2.2: of the selected mailbox alone
    if session.selected is None and (update or any(scope.kind in SELECTED for scope in arguments.scopes)):
        return bad("No mailbox is selected")
    if contexts.reused(session, arguments.returned):
        return TAG_REUSED
    if arguments.program.modseq:
        session.enable_condstore()
    done: set[str] = set()
    if session.selected is not None and any(scope.kind in SELECTED for scope in arguments.scopes):
        done.add(await _search_selected(session, session.selected, arguments))
    others = [scope for scope in arguments.scopes if scope.kind not in SELECTED]
    for mailbox in _meant(others, await session.mail.mailboxes(), session.actor.user) if others else ():
        if mailbox.id in done:
            continue
        done.add(mailbox.id)
        if session.selected is not None and session.selected.view.mailbox.id == mailbox.id:
            await _search_selected(session, session.selected, arguments)
        else:
            await _search_in(session, mailbox, arguments)
    if update and session.mailbox.view.mailbox.id not in done:
        contexts.refuse(session, session.tag)
    return ok("ESEARCH completed") if done else no("No such mailbox", "NONEXISTENT")


def _meant(wanted: Sequence[Scope], mailboxes: Iterable[Mailbox], user: str) -> list[Mailbox]:
    """RFC 7377 §2.1: names of mailboxes that do not exist name nothing. The account's own, or what it may read."""
    readable = [one for one in mailboxes if "r" in one.rights(user)]
    return [one for one in readable if any(_is_in(one, scope, user) for scope in wanted)]


def _is_in(mailbox: Mailbox, scope: Scope, user: str) -> bool:
    """RFC 5465 §6."""
    path = mailbox.path
    match scope.kind:
        case "MAILBOXES":
            return path in scope.names
        case "SUBTREE":
            return not mailbox.hidden and any(path == name or path.startswith(name + SEPARATOR) for name in scope.names)
        case "SUBTREE-ONE":
            parent = path.rpartition(SEPARATOR)[0]
            return not mailbox.hidden and (path in scope.names or (bool(parent) and parent in scope.names))
        case "INBOXES":
            return path == INBOX
        case "SUBSCRIBED":
            return mailbox.subscribed and not mailbox.hidden
        case _:
            return mailbox.user == user and not mailbox.hidden


async def _search_selected(session: Session, selected: Selected, arguments: _Arguments) -> str:
    """The id of the mailbox."""
    where = _where(session, selected)
    context = await contexts.begin(session, arguments.program, arguments.returned, uid=True, where=where)
    contexts.follow(session, context, (await _search(session, selected, arguments)).uids)
    return selected.view.mailbox.id


async def _search_in(session: Session, mailbox: Mailbox, arguments: _Arguments) -> None:
    listener = _Nobody()
    try:
        view = await session.mail.open(mailbox.path, listener)
    except (NotFound, NotPermitted):
        return  # deleted meanwhile, or not shared any more
    try:
        await _search(session, _as_selected(view), arguments)
    finally:
        session.mail.close_view(view, listener)


def _as_selected(view: View) -> Selected:
    """As if it were selected by EXAMINE, with nothing \\Recent."""
    return Selected(view, read_only=True, recent_from=view.mailbox.uidnext)


async def _search(session: Session, selected: Selected, arguments: _Arguments) -> Found:
    """RFC 7377 §2: UIDs always; a mailbox in which nothing was found is not mentioned."""
    program, returned = arguments.program, arguments.returned
    result: Found = await results.found(selected, await find(session, selected, program), uid=True)
    if "RELEVANCY" in returned.options:
        result = results.scored(result, frozenset(await find(session, selected, program.exactly())))
    results.save(selected, result, returned)
    where = _where(session, selected)
    line = results.answer(result, returned, session.tag, uid=True, modseq=program.modseq, where=where)
    if result.uids and line is not None:
        session.writer.untagged(line)
        await session.writer.room()
    return result


def _where(session: Session, selected: Selected) -> bytes:
    mailbox = selected.view.mailbox
    name = mailbox_name(session.mail.places.name(mailbox), session.utf8)
    return b" MAILBOX %b UIDVALIDITY %d" % (name, mailbox.uidvalidity)


class _Nobody:
    """Holds a view while it is searched."""

    def view_changed(self, expunged: Sequence[int]) -> None:
        """What goes meanwhile is no result: it is not in the view."""


ESEARCH = command("ESEARCH", LOGGED_IN, _parse, _run)
