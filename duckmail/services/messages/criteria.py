"""What the API searches by, as criteria of `duckmail.model.search`: filters, words, and the grammar of `q`.

No pattern is ever made of what a client wrote: values are compared as text.

    q      = all *("OR" all)
    all    = 1*(["AND"] ["-"] one)
    one    = "(" q ")" / key ":" value / value
    value  = word / DQUOTE text DQUOTE
    key    = "from" / "to" / "subject" / "in" / "thread" / "has"
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckmail.errors import InvalidInput
from duckmail.model import search
from duckmail.model.mailbox import INBOX, Mailbox
from duckmail.model.ranges import Ranges

MAX_DEPTH = 20
MAX_WORDS = 50
UNSEARCHED = frozenset({"\\Junk", "\\Trash"})

_TOKEN = re.compile(
    r'\s*(-?)(?:([()])|(from|to|subject|in|thread|has):(?="|[^\s()"])|"([^"]*)"?|([^\s()"]+))', re.IGNORECASE
)
_VALUE = re.compile(r'"([^"]*)"?|[^\s()"]+')
_WORD = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_NAMED = {
    "spam": "\\Junk",
    "junk": "\\Junk",
    "sent": "\\Sent",
    "trash": "\\Trash",
    "deleted": "\\Trash",
    "drafts": "\\Drafts",
    "archive": "\\Archive",
}
_NOTHING = search.Not(search.All())


@dataclass(frozen=True, slots=True)
class In:
    """The message is in the mailbox with this id, path or usual name."""

    value: str


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search names; what is empty or None does not narrow it. `sender`, `recipient`: in from, in to or cc."""

    query: str = ""
    thread: str = ""
    sender: str = ""
    recipient: str = ""
    subject: str = ""
    since: datetime | None = None
    before: datetime | None = None
    least: int | None = None
    most: int | None = None
    attachments: bool = False
    flagged: bool = False
    unseen: bool = False
    seen: bool = False
    uids: Ranges | None = None


Tree = search.Node | In | tuple[str, tuple["Tree", ...]]


def criteria(filters: Filters, either: Filters) -> search.Node:
    """All of `filters`, and one of `either` if that has any."""
    nodes = list(_nodes(filters))
    if others := tuple(_nodes(either)):
        nodes.append(search.Or(others))
    return _and(nodes)


def _nodes(filters: Filters) -> Iterator[search.Node]:
    yield from _marks(filters)
    yield from _bounds(filters)
    if filters.sender:
        yield search.Header("from", filters.sender)
    if filters.recipient:
        yield _recipient(filters.recipient)
    if filters.subject:
        yield search.Header("subject", filters.subject)
    if filters.query:
        yield words(filters.query)


def _marks(filters: Filters) -> Iterator[search.Node]:
    if filters.uids is not None:
        yield search.Uids(filters.uids)
    if filters.unseen:
        yield search.Not(search.Flag("\\Seen"))
    elif filters.seen:
        yield search.Flag("\\Seen")
    if filters.flagged:
        yield search.Flag("\\Flagged")
    if filters.thread:
        yield search.Thread(filters.thread)
    if filters.attachments:
        yield search.Attached()


def _bounds(filters: Filters) -> Iterator[search.Node]:
    if filters.since is not None or filters.before is not None:
        yield search.Between(filters.since, filters.before)
    if filters.least is not None or filters.most is not None:
        yield search.Size(
            None if filters.least is None else filters.least - 1, None if filters.most is None else filters.most + 1
        )


def _recipient(value: str) -> search.Node:
    return search.Or((search.Header("to", value), search.Header("cc", value)))


def words(query: str) -> search.Node:
    """Any of the words, all of the "phrases", none of the -negated."""
    any_of: list[search.Node] = []
    all_of: list[search.Node] = []
    for minus, phrase, word in _WORD.findall(query)[:MAX_WORDS]:
        text = search.Text(phrase or word)
        if not text.value:
            continue
        if minus:
            all_of.append(search.Not(text))
        elif phrase:
            all_of.append(text)
        else:
            any_of.append(text)
    if any_of:
        all_of.append(search.Or(tuple(any_of)))
    return _and(all_of)


def _and(nodes: Sequence[search.Node]) -> search.Node:
    if not nodes:
        return search.All()
    return nodes[0] if len(nodes) == 1 else search.And(tuple(nodes))


# -- q -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind`: `(`, `)`, `word`, `quoted`, or a key in lower case, whose value is `text`."""

    kind: str
    text: str = ""
    negated: bool = False


def _tokens(query: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while match := _TOKEN.match(query, at):
        at = match.end()
        minus, parenthesis, key, quoted, word = match.groups()
        if key and (value := _VALUE.match(query, at)):
            at = value.end()
            found.append(_Token(key.lower(), value[1] if value[1] is not None else value[0], bool(minus)))
        elif parenthesis:
            found.append(_Token(parenthesis, negated=bool(minus)))
        elif quoted is not None:
            found.append(_Token("quoted", quoted, bool(minus)))
        else:
            found.append(_Token("word", word or "", bool(minus)))
    return found


class Query:
    """The meaning of `q`; mailboxes are told apart when it is applied to one."""

    def __init__(self, text: str) -> None:
        """Raises: InvalidInput: nested too deeply."""
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._tree = self._any()
        while self._at < len(self._tokens):  # a ")" too many
            self._at += 1
            self._tree = ("and", (self._tree, self._any()))

    def within(self, mailbox: Mailbox) -> search.Node:
        return _resolved(self._tree, mailbox)

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _any(self) -> Tree:
        each = [self._all()]
        while (token := self._peek()) is not None and token.kind == "word" and token.text == "OR":
            self._at += 1
            each.append(self._all())
        return ("or", tuple(each)) if len(each) > 1 else each[0]

    def _all(self) -> Tree:
        each: list[Tree] = []
        while (token := self._peek()) is not None and token.kind != ")":
            if token.kind == "word" and token.text == "OR":
                break
            self._at += 1
            if token.kind == "word" and token.text == "AND":
                continue
            one = self._group() if token.kind == "(" else _term(token)
            each.append(("not", (one,)) if token.negated else one)
        return ("and", tuple(each))

    def _group(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidInput("The query is nested too deeply")
        found = self._any()
        token = self._peek()
        if token is not None and token.kind == ")":
            self._at += 1
        self._depth -= 1
        return found


def _term(token: _Token) -> Tree:
    match token.kind:
        case "from" | "subject":
            return search.Header(token.kind, token.text)
        case "to":
            return _recipient(token.text)
        case "in":
            return In(token.text)
        case "thread":
            return search.Thread(token.text.lower())
        case "has":
            is_known = token.text.lower().startswith("attachment")
            return search.Attached() if is_known else search.Text(token.text)
        case _:
            return search.Text(token.text)


def _resolved(tree: Tree, mailbox: Mailbox) -> search.Node:
    if isinstance(tree, In):
        return search.All() if _is_in(tree.value, mailbox) else _NOTHING
    if not isinstance(tree, tuple):
        return tree
    kind, inner = tree
    nodes = [_resolved(each, mailbox) for each in inner]
    if kind == "not":
        return search.Not(nodes[0])
    return search.Or(tuple(nodes)) if kind == "or" else _and(nodes)


def _is_in(value: str, mailbox: Mailbox) -> bool:
    name = value.lower()
    if name in _NAMED:
        return mailbox.special_use == _NAMED[name]
    if name == INBOX.lower():
        return mailbox.path == INBOX
    return name in (mailbox.id, mailbox.path.lower())
