"""SPF (RFC 7208), evaluated by pyspf without its resolver.

pyspf asks as it goes and would block. Here it gets only what is known already; at the first thing that is not, it is
left, the answer is fetched on the loop, and it starts anew: in a thread, since a record made for it takes long.
"""

from typing import cast

import spf

from duckmail.errors import NotFound, Unavailable
from duckmail.model.mailauth import SpfResult
from duckmail.runtime.threads import Pool
from duckmail.services.mailauth.lookups import Lookups

MAX_RECORD = 4096  # octets; RFC 7208 §3.4 asks for fewer than 450
MAX_ROUNDS = 130  # 10 mechanisms with 10 hosts each, and what is around them
_RESULTS = frozenset({"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"})

Answers = dict[tuple[str, str], list[object] | Exception]


class _Missing(BaseException):
    """Not an `Exception`: pyspf must not take it for a fault of the record."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(name, kind)
        self.name = name
        self.kind = kind


class _Query(spf.query):  # type: ignore[misc]  # it has no types
    answers: Answers

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[object]:
        """What pyspf asks DNS with; CNAMEs are followed by the resolver."""
        name = str(name).removesuffix(".").lower()
        if not all(0 < len(label) < 64 for label in name.split(".")):
            return []
        if (name, qtype) not in self.answers:
            raise _Missing(name, qtype)
        found = self.answers[name, qtype]
        if isinstance(found, Exception):
            raise found
        # RFC 7208 §4.6.4: at most two look-ups without an answer.
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("void look-ups")
        return found

    def get_explanation(self, spec: str) -> str:
        """Nobody reads it here, so that it is not asked for."""
        return ""


async def check(lookups: Lookups, threads: Pool, address: str, helo: str, sender: str) -> SpfResult:
    """The check of MAIL FROM, or of HELO where that is null (RFC 7208 §2.4).

    `address`: the client's.
    """
    scope = "mailfrom" if sender else "helo"
    domain = sender.rpartition("@")[2] if sender else helo
    base = (scope, sender or helo, domain.lower(), address, helo)
    answers: Answers = {}
    for _ in range(MAX_ROUNDS):
        result = await threads.run(_evaluate, answers, address, helo, sender)
        if isinstance(result, str):
            return SpfResult(result, *base)
        answers[result.name, result.kind] = await _fetch(lookups, result.name, result.kind)
    return SpfResult("permerror", *base)


def _evaluate(answers: Answers, address: str, helo: str, sender: str) -> str | _Missing:
    query = _Query(i=address, s=sender, h=helo)
    query.answers = answers
    try:
        result = query.check()[0]
    except _Missing as missing:
        return missing
    except Exception:
        return "permerror"  # pyspf stumbles over some records (numbers, octets) instead of refusing them
    return result if result in _RESULTS else "permerror"


async def _fetch(lookups: Lookups, name: str, kind: str) -> list[object] | Exception:
    """As pyspf has them: TXT as tuples of octets, MX with preference, the others as text."""
    if kind not in {"A", "AAAA", "MX", "PTR", "TXT"}:
        return []
    try:
        found = await lookups.records(name, kind)
    except NotFound:
        return []
    except Unavailable:
        return cast("Exception", spf.TempError("DNS"))
    if kind == "TXT":
        if any(len(text) > MAX_RECORD for text in found):
            return cast("Exception", spf.PermError("record too long"))
        return [(text.encode("latin-1", "replace"),) for text in found]
    if kind == "MX":
        pairs = [text.partition(" ") for text in found]
        return [(int(preference), host) for preference, _, host in pairs]
    return list(found)
