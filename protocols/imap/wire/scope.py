"""Sets of mailboxes that a client names by what they are (RFC 5465 §8 filter-mailboxes, RFC 7377 §3)."""

from dataclasses import dataclass

from protocols.imap.wire.parser import ParseError, Parser

SELECTED = ("SELECTED", "SELECTED-DELAYED")
_ALONE = ("INBOXES", "PERSONAL", "SUBSCRIBED", *SELECTED)
_WITH_NAMES = ("SUBTREE", "SUBTREE-ONE", "MAILBOXES")


@dataclass(frozen=True, slots=True)
class Scope:
    """`kind`: the word, upper case. `names`: of SUBTREE, SUBTREE-ONE and MAILBOXES."""

    kind: str
    names: tuple[str, ...] = ()


def scopes(p: Parser) -> tuple[Scope, ...]:
    """ "(" filter-mailboxes *(SP filter-mailboxes) ")"."""
    return tuple(p.list_of(lambda: _scope(p)))


def _scope(p: Parser) -> Scope:
    word = p.keyword()
    if word in _ALONE:
        return Scope(word)
    if word not in _WITH_NAMES:
        raise ParseError("Unknown set of mailboxes")
    p.sp()
    # one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"
    return Scope(word, tuple(p.list_of(p.mailbox)) if p.peek() == 0x28 else (p.mailbox(),))
