"""Fuzz target: any complete command is read or refused with ParseError by every rule; nothing else is raised."""

from collections.abc import Callable
from contextlib import suppress

from duckmail.model.ranges import Ranges
from protocols.imap.wire.fetch import BodySection, fetch_items, fetch_modifiers
from protocols.imap.wire.framer import AFTER_LOGIN, CommandReady, Framer, LiteralAnnounced, Part
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.search import contains_modseq, resolve, search_program

SEEDS: list[bytes] = [
    b"a FETCH 1:* (FLAGS UID BODY.PEEK[1.2.HEADER.FIELDS.NOT (To {4+}\r\nFrom)]<0.10>) (CHANGEDSINCE 5 VANISHED)\r\n",
    b"a FETCH 1:*,5 ALL\r\n",
    b"a SEARCH RETURN (MIN MAX) CHARSET UTF-8 OR (FROM x NOT SEEN) UID 1:*,7 HEADER Subject {2+}\r\n\xc3\xbc\r\n",
    b'a SEARCH SINCE 1-Feb-1994 LARGER 100 MODSEQ "/flags/\\\\seen" all 5 $\r\n',
    b"a STORE 1 +FLAGS.SILENT (\\Seen $Work)\r\n",
    b'a LIST "" (("a" NIL {1+}\r\nx) %)\r\n',
    b'a APPEND &U,BTFw- " 7-Feb-1994 21:52:25 -0800" ~{1+}\r\n\0\r\n',
    b"a LOGIN 4294967296 01\r\n",
    b"a X " + b"(" * 60 + b")" * 60 + b"\r\n",
]


def target(data: bytes) -> None:
    for parts in commands(data):
        for utf8 in (False, True):
            for rule in RULES:
                parser = Parser(parts, utf8)
                with suppress(ParseError):
                    parser.sp()
                    rule(parser)


def commands(data: bytes) -> list[tuple[Part, ...]]:
    framer = Framer(AFTER_LOGIN)
    framer.feed(data)
    found = []
    while (event := framer.next_event()) is not None:
        if isinstance(event, LiteralAnnounced):
            if event.name == "APPEND":
                framer.stream_literal()
            elif event.within_limits:
                framer.accept_literal()
            else:
                framer.refuse_literal()
        elif isinstance(event, CommandReady):
            found.append(event.command.parts)
    return found


def _fetch(parser: Parser) -> None:
    parser.sequence_set()
    parser.sp()
    for item in fetch_items(parser):
        name = item.response_name()
        assert isinstance(item, BodySection) or name.isascii()
    fetch_modifiers(parser)


def _search(parser: Parser) -> None:
    _, _, tree = search_program(parser)
    contains_modseq(tree)
    resolve(tree, lambda numbers, _uid: numbers.resolve(10, Ranges.of(1, 2)))


def _store(parser: Parser) -> None:
    parser.sequence_set()
    parser.sp()
    parser.keyword()
    parser.sp()
    parser.store_flags()
    parser.end()


def _list(parser: Parser) -> None:
    parser.mailbox()
    parser.sp()
    parser.list_of(parser.list_mailbox, empty=True)


def _append(parser: Parser) -> None:
    parser.mailbox()
    parser.sp()
    if parser.peek() == ord("("):
        parser.flag_list()
        parser.sp()
    parser.date_time()
    parser.sp()
    parser.literal()
    parser.end()


def _nested(parser: Parser) -> None:
    def item() -> object:
        return parser.list_of(item, empty=True) if parser.peek() == ord("(") else parser.nstring()

    item()


RULES: tuple[Callable[[Parser], object], ...] = (
    *(_fetch, _search, _store, _list, _append, _nested),
    *(Parser.number, Parser.nz_number, Parser.number64, Parser.date, Parser.literal, Parser.flag, Parser.astring),
)
