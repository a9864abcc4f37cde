"""SORT and UID SORT (RFC 5256 §3; RETURN: RFC 5267 §3; DISPLAYFROM, DISPLAYTO: RFC 5957; RELEVANCY: RFC 6203 §5)."""

from dataclasses import dataclass

from duckmail.errors import DuckmailError
from duckmail.model.ordering import SortBy, SortKey
from protocols.imap import contexts, limiting, results
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import TAG_REUSED, Reply, ok
from protocols.imap.results import EXACT, NEAR, Found
from protocols.imap.searching import Program, find
from protocols.imap.selected import Selected
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.imap.wire.response import search_response
from protocols.imap.wire.search import SearchReturn, sort_program


@dataclass(frozen=True, slots=True)
class _Arguments:
    program: Program
    order: tuple[SortBy, ...]
    returned: SearchReturn | None
    uid: bool

    @property
    def scored(self) -> bool:
        asked = self.returned is not None and "RELEVANCY" in self.returned.options
        return asked or any(by.key is SortKey.RELEVANCY for by in self.order)


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    parser.sp()
    returned, order, key = sort_program(parser)
    return _Arguments(Program.of(key), order, returned, uid)


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected, returned = session.mailbox, arguments.returned
    if arguments.program.modseq:
        session.enable_condstore()
    if refused := limiting.too_many(session, selected.exists):
        return refused  # RFC 9738 §3.3
    if contexts.reused(session, returned):
        return TAG_REUSED
    context = await contexts.begin(session, arguments.program, returned, uid=arguments.uid, order=arguments.order)
    try:
        result = await _found(session, selected, arguments)
    except DuckmailError:
        results.forget(selected, returned)
        raise
    modseq = arguments.program.modseq
    if returned is None:
        highest = max(result.modseqs) if modseq and result.modseqs else None
        line: bytes | None = search_response(result.numbers, highest, "SORT")
    else:
        line = results.answer(result, returned, session.tag, uid=arguments.uid, modseq=modseq)
    if line is not None:
        session.writer.untagged(line)
    results.save(selected, result, returned)
    contexts.follow(session, context, result.uids)
    return ok("SORT completed")


async def _found(session: Session, selected: Selected, arguments: _Arguments) -> Found:
    uids = await find(session, selected, arguments.program)
    if not arguments.scored:
        ordered = await session.mail.sort(selected.view, uids, arguments.order)
        return await results.found(selected, ordered, uid=arguments.uid)
    exact = frozenset(await find(session, selected, arguments.program.exactly()))
    scores = {one: EXACT if one in exact else NEAR for one in uids}
    ordered = await session.mail.sort(selected.view, uids, arguments.order, scores)
    return results.scored(await results.found(selected, ordered, uid=arguments.uid), exact)


SORT = command("SORT", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE | Trait.NUMBERED)
UID_SORT = command("UID SORT", SELECTED, lambda parser: _parse(parser, uid=True), _run)
