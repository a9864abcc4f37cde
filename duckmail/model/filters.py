"""Filters: what an account wants done with mail as it comes. Pure: facts of a message in, actions out.

Conditions are substrings without regard to case, never patterns; all of a filter's have to hold. Filters are asked in
the order in which they were made: of each action the first that says something is done, targets add up.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

MAX_TARGETS = 100  # that one message is sent on to, by all filters and the account together

# Words between blanks or commas, and quoted phrases.
_TOKEN = re.compile(r'"([^"]*)"?|([^\s,"]+)')


@dataclass(frozen=True, slots=True)
class FilterQuery:
    """`ha`: whether there are attachments. `size`: octets, more than that when positive, less than -size when negative;
    0 for any. `text`: see `clauses`."""

    from_: str = ""
    to: str = ""
    subject: str = ""
    list_id: str = ""
    text: str = ""
    ha: bool | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class FilterAction:
    """None leaves it to others. `mailbox`: id. `targets`: addresses or URLs that the message goes on to."""

    seen: bool | None = None
    flag: bool | None = None
    delete: bool | None = None
    spam: bool | None = None
    mailbox: str = ""
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """`meta_data`: a JSON object as text."""

    id: str
    user: str
    query: FilterQuery
    action: FilterAction
    name: str = ""
    disabled: bool = False
    created: datetime | None = None
    meta_data: str = "{}"


class Facts:
    """What conditions look at. Texts are in lower case, a line for each field: `from_` with Sender, `to` with Cc and
    Delivered-To.

    `text`: gives the message's text in lower case; asked for at most once.
    """

    def __init__(
        self,
        *,
        from_: str = "",
        to: str = "",
        subject: str = "",
        list_id: str = "",
        size: int = 0,
        attachments: bool = False,
        text: Callable[[], str] = str,
    ) -> None:
        self.from_ = from_
        self.to = to
        self.subject = subject
        self.list_id = list_id
        self.size = size
        self.attachments = attachments
        self._text = text

    @cached_property
    def text(self) -> str:
        return self._text()


def matches(query: FilterQuery, facts: Facts) -> bool:
    """Whether every condition holds; a query without one never does."""
    if query == FilterQuery():
        return False
    substrings = (
        (query.from_, facts.from_),
        (query.to, facts.to),
        (query.subject, facts.subject),
        (query.list_id, facts.list_id),
    )
    if any(wanted.lower() not in found for wanted, found in substrings):
        return False
    if query.ha is not None and query.ha is not facts.attachments:
        return False
    if (query.size > 0 and facts.size <= query.size) or (query.size < 0 and facts.size >= -query.size):
        return False
    # Last, as what costs most.
    return not query.text or all(any(word in facts.text for word in clause) for clause in clauses(query.text))


def clauses(text: str) -> list[list[str]]:
    """The words and phrases of a text condition, in lower case: of each clause one has to be there.

    Blanks and commas are "and", `OR` between two is "or".
    """
    found: list[list[str]] = []
    joined = False
    for match in _TOKEN.finditer(text):
        phrase, word = match.groups()
        if word == "OR":
            joined = bool(found)
            continue
        term = (phrase if phrase is not None else word).lower()
        if not term:
            continue
        if joined:
            found[-1].append(term)
        else:
            found.append([term])
        joined = False
    return found


def matching(filters: Iterable[Filter], facts: Facts) -> list[Filter]:
    """Those that have something to say about the message."""
    return [each for each in filters if not each.disabled and matches(each.query, facts)]


def decide(filters: Iterable[Filter]) -> FilterAction:
    """What the filters, which all match, want together."""
    seen = flag = delete = spam = None
    mailbox = ""
    targets: dict[str, None] = {}
    for each in filters:
        action = each.action
        seen = action.seen if seen is None else seen
        flag = action.flag if flag is None else flag
        delete = action.delete if delete is None else delete
        spam = action.spam if spam is None else spam
        mailbox = mailbox or action.mailbox
        targets |= dict.fromkeys(action.targets)
    return FilterAction(seen, flag, delete, spam, mailbox, tuple(targets)[:MAX_TARGETS])
