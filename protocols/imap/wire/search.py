"""SEARCH (RFC 3501 §6.4.4, with RFC 4731 RETURN, RFC 5032 WITHIN, RFC 6203 FUZZY, RFC 7162 MODSEQ): the grammar, and
into the model.

The tree is `duckmail.model.search` but for what only a session can resolve: `Messages` holds sequence numbers or UIDs
with `*` in them. Its own AND, OR and NOT hold such nodes; `resolve` turns the whole tree into the model's.

Keys in a row are one flat list, so is a chain `OR a OR b OR c d` (clients write long ones): neither costs recursion.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from duckmail.mime import charsets
from duckmail.model import search
from duckmail.model.ordering import SortBy, SortKey
from duckmail.model.ranges import Ranges
from protocols.imap.wire.fetch import FetchItem, fetch_items
from protocols.imap.wire.parser import MAX_32, ParseError, Parser
from protocols.imap.wire.partial import Page, page
from protocols.imap.wire.sequence import SequenceSet

DEFAULT_CHARSET = "US-ASCII"


class BadCharset(ParseError):
    """RFC 3501 §6.4.4: an unknown CHARSET is a tagged NO, with the code BADCHARSET, not BAD: catch it first."""


@dataclass(frozen=True, slots=True)
class SearchReturn:
    """RFC 4731 §3.1, RFC 5182: what was asked for, upper case, in order, each once. `RETURN ()` means ALL.

    `update`: changes of the result are to be told (RFC 5267 §4.3), with `fetch` of the messages that arrive (RFC 5465
    §7). CONTEXT, a hint, is not kept (RFC 5267 §4.2)."""

    options: tuple[str, ...]
    partial: Page | None = None  # of PARTIAL (RFC 9394 §3.1)
    update: bool = False
    fetch: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Messages:
    """A sequence-set of message sequence numbers, or of UIDs."""

    set: SequenceSet
    uid: bool


@dataclass(frozen=True, slots=True)
class Every:
    """All of `keys` match."""

    keys: tuple["SearchKey", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of `keys` matches."""

    keys: tuple["SearchKey", ...]


@dataclass(frozen=True, slots=True)
class Unless:
    """`key` does not match."""

    key: "SearchKey"


@dataclass(frozen=True, slots=True)
class Loosely:
    """FUZZY: `key` matches, or nearly (RFC 6203 §3)."""

    key: "SearchKey"


SearchKey = search.Node | Messages | Every | Either | Unless | Loosely

_RETURN_OPTIONS = ("MIN", "MAX", "ALL", "COUNT", "SAVE", "RELEVANCY", "UPDATE", "CONTEXT")
_NO_RESULTS = ("UPDATE", "CONTEXT")
_ITEMS_FOLLOW = re.compile(rb" ?+(?=\()")
_WORD = re.compile(r"\w++")

_FLAGGED: dict[str, search.Node] = {
    "ALL": search.All(),
    "ANSWERED": search.Flag("\\Answered"),
    "DELETED": search.Flag("\\Deleted"),
    "DRAFT": search.Flag("\\Draft"),
    "FLAGGED": search.Flag("\\Flagged"),
    "SEEN": search.Flag("\\Seen"),
    "UNANSWERED": search.Not(search.Flag("\\Answered")),
    "UNDELETED": search.Not(search.Flag("\\Deleted")),
    "UNDRAFT": search.Not(search.Flag("\\Draft")),
    "UNFLAGGED": search.Not(search.Flag("\\Flagged")),
    "UNSEEN": search.Not(search.Flag("\\Seen")),
    "RECENT": search.Recent(),
    "OLD": search.Not(search.Recent()),
    "SAVEDATESUPPORTED": search.All(),  # RFC 8514 §4.3: save dates are kept in every mailbox
    "NEW": search.And((search.Recent(), search.Not(search.Flag("\\Seen")))),
}
_NO_WORD = b"(*$0123456789"
_ADDRESS_HEADERS = ("BCC", "CC", "FROM", "SUBJECT", "TO")


def search_program(p: Parser) -> tuple[SearchReturn | None, str, SearchKey]:
    """Behind `SEARCH SP`, to the end of the command: RETURN options, the charset named (upper case), the tree.

    Raises:
        BadCharset: a charset that is not on the product's list.
        ParseError
    """
    # search = "SEARCH" [search-return-opts] SP search-program
    # search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
    options = None
    charset = DEFAULT_CHARSET
    word = _word(p)
    if word == "RETURN":
        p.sp()
        options = _return_options(p)
        p.sp()
        word = _word(p)
    if word == "CHARSET":
        p.sp()
        charset = _charset(p)
        p.sp()
        word = _word(p)
    keys = _Keys(p, charset)
    tree = keys.row(word)
    p.end()
    if options is not None and "RELEVANCY" in options.options and not contains_fuzzy(tree):
        raise ParseError("RELEVANCY needs FUZZY")  # RFC 6203 §4
    return options, charset, tree


def sort_program(p: Parser) -> tuple[SearchReturn | None, tuple[SortBy, ...], SearchKey]:
    """Behind `SORT SP`, to the end of the command (RFC 5256 §5, RFC 5267 §3). Raises: BadCharset, ParseError."""
    # sort = "SORT" [search-return-opts] SP sort-criteria SP search-criteria
    # search-criteria = charset 1*(SP search-key)
    options = None
    if p.peek() != 0x28:
        if p.keyword() != "RETURN":
            raise ParseError("Expected sort criteria")
        p.sp()
        options = _return_options(p)
        p.sp()
    order = tuple(p.list_of(lambda: _sort_criterion(p)))
    p.sp()
    key = charset_program(p)
    if any(by.key is SortKey.RELEVANCY for by in order) and not contains_fuzzy(key):
        raise ParseError("RELEVANCY needs FUZZY")
    return options, order, key


def _sort_criterion(p: Parser) -> SortBy:
    """["REVERSE" SP] sort-key."""
    word = p.keyword()
    reverse = word == "REVERSE"
    if reverse:
        p.sp()
        word = p.keyword()
    if word not in SortKey.__members__:
        raise ParseError("Unknown sort criterion")
    return SortBy(SortKey[word], reverse)


def charset_program(p: Parser) -> SearchKey:
    """charset 1*(SP search-key), to the end of the command. Raises: BadCharset, ParseError."""
    charset = _charset(p)
    p.sp()
    key = _Keys(p, charset).row(_word(p))
    p.end()
    return key


def contains_modseq(tree: SearchKey) -> bool:
    """MODSEQ is among the keys: RFC 7162 §3.1.5 then wants it in the response, and it enables CONDSTORE (§3.1)."""
    return any(isinstance(key, search.ModSeq) for key in leaves(tree))


def contains_fuzzy(tree: SearchKey) -> bool:
    """RFC 6203 §4: only then RELEVANCY has a meaning."""
    if isinstance(tree, Every | Either):
        return any(contains_fuzzy(key) for key in tree.keys)
    return contains_fuzzy(tree.key) if isinstance(tree, Unless) else isinstance(tree, Loosely)


def leaves(tree: SearchKey) -> Iterator["search.Node | Messages"]:
    """The keys that hold no others, in order."""
    if isinstance(tree, Every | Either):
        for key in tree.keys:
            yield from leaves(key)
    elif isinstance(tree, Unless | Loosely):
        yield from leaves(tree.key)
    else:
        yield tree


def exactly(tree: SearchKey) -> SearchKey:
    """The same as if FUZZY were not written."""
    match tree:
        case Every(keys):
            return Every(tuple(exactly(key) for key in keys))
        case Either(keys):
            return Either(tuple(exactly(key) for key in keys))
        case Unless(key):
            return Unless(exactly(key))
        case Loosely(key):
            return exactly(key)
        case _:
            return tree


def resolve(tree: SearchKey, to_uids: Callable[[SequenceSet, bool], Ranges], *, loosely: bool = False) -> search.Node:
    """The model's tree. `to_uids` turns a set into UIDs; its second argument says that the set is of UIDs already.
    `loosely`: it stands below FUZZY."""
    match tree:
        case Messages(numbers, uid):
            return search.Uids(to_uids(numbers, uid))
        case Every(keys):
            return search.And(tuple(resolve(key, to_uids, loosely=loosely) for key in keys))
        case Either(keys):
            return search.Or(tuple(resolve(key, to_uids, loosely=loosely) for key in keys))
        case Unless(key):
            return search.Not(resolve(key, to_uids, loosely=loosely))
        case Loosely(key):
            return resolve(key, to_uids, loosely=True)
        case search.Text() | search.Body() | search.Header() if loosely:
            return _by_words(tree)
        case _:
            return tree


def _by_words(key: "search.Text | search.Body | search.Header") -> search.Node:
    """RFC 6203 §3 leaves to the server what is near: here all words occur, in any order and with anything between."""
    words = dict.fromkeys(_WORD.findall(key.value))
    return search.And(tuple(replace(key, value=word) for word in words)) if len(words) > 1 else key


def _word(p: Parser) -> str:
    """The word at this place in upper case; empty when a set or a parenthesis is there."""
    return "" if p.peek() in _NO_WORD else p.keyword()


def _return_options(p: Parser) -> SearchReturn:
    options = dict(p.list_of(lambda: _return_option(p), empty=True))
    if "PARTIAL" in options and "ALL" in options:
        raise ParseError("ALL and PARTIAL exclude each other")  # RFC 9394 §3.1
    asked = tuple(option for option in options if option not in _NO_RESULTS) if options else ("ALL",)
    shown, fetch = options.get("PARTIAL"), options.get("UPDATE")
    items = fetch if isinstance(fetch, tuple) else ()
    return SearchReturn(asked, shown if isinstance(shown, Page) else None, "UPDATE" in options, items)


def _return_option(p: Parser) -> tuple[str, Page | tuple[FetchItem, ...] | None]:
    option = p.keyword()
    if option == "PARTIAL":
        p.sp()
        return option, page(p)
    if option not in _RETURN_OPTIONS:
        raise ParseError("Unknown SEARCH return option")
    # RFC 5465 §8: modifier-update = "UPDATE" ["(" fetch-att *(SP fetch-att) ")"]; its example has a space there.
    return option, fetch_items(p) if option == "UPDATE" and p.match(_ITEMS_FOLLOW) else None


def _charset(p: Parser) -> str:
    name = p.astring().decode("latin-1").upper()
    if not charsets.known(name):
        raise BadCharset("Unknown charset")
    # RFC 6855 §3: with UTF8=ACCEPT all is UTF-8 and a CHARSET is to be refused; one that says the same does no harm.
    # RFC 9051 §6.4.4: without, others may be taken: clients that enable IMAP4rev2 need not know it.
    if not p.any_charset and name not in ("UTF-8", "US-ASCII"):
        raise ParseError("The charset is UTF-8 when UTF8=ACCEPT is enabled")
    return name


class _Keys:
    """search-key and what is below it."""

    def __init__(self, p: Parser, charset: str) -> None:
        self._p = p
        # Without CHARSET the RFC says US-ASCII. Octets above 127 have no other meaning there, so UTF-8 is read in them.
        self._charset = "UTF-8" if not p.any_charset or charset == DEFAULT_CHARSET else charset
        self._arguments: dict[str, Callable[[], SearchKey]] = {
            **{name: self._address(name.lower()) for name in _ADDRESS_HEADERS},
            "HEADER": self._header,
            "BODY": lambda: search.Body(self._string()),
            "TEXT": lambda: search.Text(self._string()),
            "KEYWORD": lambda: search.Flag(p.atom()),
            "UNKEYWORD": lambda: search.Not(search.Flag(p.atom())),
            "LARGER": lambda: search.Size(larger=p.number64()),
            "SMALLER": lambda: search.Size(smaller=p.number64()),
            "UID": lambda: Messages(p.sequence_set(), uid=True),
            "UIDAFTER": lambda: _uids(p.nz_number() + 1, MAX_32),  # RFC 9738 §3.2
            "UIDBEFORE": lambda: _uids(1, p.nz_number() - 1),
            "BEFORE": lambda: search.DateRange(search.DateField.INTERNAL, before=p.date()),
            "ON": lambda: _day(search.DateField.INTERNAL, p.date()),
            "SINCE": lambda: search.DateRange(search.DateField.INTERNAL, since=p.date()),
            "SENTBEFORE": lambda: search.DateRange(search.DateField.SENT, before=p.date()),
            "SENTON": lambda: _day(search.DateField.SENT, p.date()),
            "SENTSINCE": lambda: search.DateRange(search.DateField.SENT, since=p.date()),
            # RFC 8514 §4.3
            "SAVEDBEFORE": lambda: search.DateRange(search.DateField.SAVED, before=p.date()),
            "SAVEDON": lambda: _day(search.DateField.SAVED, p.date()),
            "SAVEDSINCE": lambda: search.DateRange(search.DateField.SAVED, since=p.date()),
            # RFC 8474 §5.3
            "EMAILID": lambda: search.EmailId(p.object_id()),
            "THREADID": lambda: search.Thread(p.object_id()),
            "OLDER": lambda: search.Within(older=p.nz_number()),
            "YOUNGER": lambda: search.Within(younger=p.nz_number()),
            "MODSEQ": self._modseq,
            "FUZZY": self._fuzzy,
            "NOT": self._not,
            "OR": self._or,
        }

    def row(self, word: str) -> SearchKey:
        """search-key *(SP search-key), all of which must match; `word` is the first one's, already read."""
        keys = [self._key(word)]
        while self._p.try_byte(b" "):
            keys.append(self._key(_word(self._p)))
        return keys[0] if len(keys) == 1 else Every(tuple(keys))

    def _key(self, word: str) -> SearchKey:
        if word:
            simple = _FLAGGED.get(word)
            if simple is not None:
                return simple
            argument = self._arguments.get(word)
            if argument is None:
                raise ParseError("Unknown search key")
            self._p.sp()
            return argument()
        if not self._p.try_byte(b"("):
            return Messages(self._p.sequence_set(), uid=False)
        with self._p.nested():
            row = self.row(_word(self._p))
        self._p.expect(b")")
        return row

    def _not(self) -> SearchKey:
        with self._p.nested():
            return Unless(self._key(_word(self._p)))

    def _fuzzy(self) -> SearchKey:
        with self._p.nested():
            return Loosely(self._key(_word(self._p)))

    def _or(self) -> SearchKey:
        """ "OR" SP search-key SP search-key; as long as the second is an OR itself, its keys join this one's."""
        keys: list[SearchKey] = []
        word = "OR"
        with self._p.nested():
            while word == "OR":
                keys.append(self._key(_word(self._p)))
                self._p.sp()
                word = _word(self._p)
                if word == "OR":
                    self._p.sp()
            keys.append(self._key(word))
        return Either(tuple(keys))

    def _string(self) -> str:
        octets = self._p.astring()
        if self._charset != "UTF-8":
            return charsets.decode(octets, self._charset)
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise ParseError("The string is not valid UTF-8") from None

    def _address(self, name: str) -> Callable[[], SearchKey]:
        return lambda: search.Header(name, self._string())

    def _header(self) -> SearchKey:
        """ "HEADER" SP header-fld-name SP astring."""
        name = self._p.astring()
        if not name or not name.isascii():
            raise ParseError("Invalid header field name")
        self._p.sp()
        return search.Header(name.decode("ascii").lower(), self._string())

    def _modseq(self) -> SearchKey:
        """ "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer (RFC 7162 §7)."""
        if self._p.peek() == 0x22:
            # RFC 7162 §3.1.5: a server with one mod-sequence per message ignores the entry.
            self._p.string()
            self._p.sp()
            if self._p.keyword() not in ("ALL", "PRIV", "SHARED"):
                raise ParseError("Unknown entry type")
            self._p.sp()
        return search.ModSeq(self._p.number64())


def _uids(first: int, last: int) -> search.Uids:
    return search.Uids(Ranges(((first, last),)) if first <= last else Ranges())


def _day(field: search.DateField, day: date) -> search.DateRange:
    following = None if day == date.max else day + timedelta(days=1)
    return search.DateRange(field, since=day, before=following)
