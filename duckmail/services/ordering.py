"""Puts messages in order: SORT (RFC 5256 §3, RFC 5957).

Only the fields that an order needs are loaded. Keys are made and sorted in a thread, in runs that are then merged: no
step of it holds the interpreter for more than some milliseconds, however many messages there are.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from duckmail.mime.collation import casemap
from duckmail.mime.sortsubject import base_subject
from duckmail.model.ordering import SortBy, SortKey
from storage.messages import Messages
from storage.views import View

RUN = 2000  # rows sorted at once, some 2 ms

T = TypeVar("T")
Row = tuple[Any, ...]


def _mailbox(name: str) -> Callable[[Mapping[str, Any]], str]:
    """RFC 5256 §3: addr-mailbox of the first address."""

    def key(document: Mapping[str, Any]) -> str:
        found = document.get(name)
        return casemap(found[0][1].rpartition("@")[0] or found[0][1]) if found else ""

    return key


def _display(name: str) -> Callable[[Mapping[str, Any]], str]:
    """RFC 5957 §3: the name of the first address, or the address where it has none."""

    def key(document: Mapping[str, Any]) -> str:
        found = document.get(name)
        return casemap(found[0][0] or found[0][1]) if found else ""

    return key


# Key -> fields that it needs, and its value. RELEVANCY is not of the message: see `sort`.
KEYS: Mapping[SortKey, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    SortKey.ARRIVAL: ("idate", lambda document: document["idate"]),
    SortKey.CC: ("cc", _mailbox("cc")),
    SortKey.DATE: ("hdate", lambda document: document["hdate"]),
    SortKey.FROM: ("from", _mailbox("from")),
    SortKey.SIZE: ("size", lambda document: int(document["size"])),
    SortKey.SUBJECT: ("subject", lambda document: casemap(base_subject(document.get("subject", ""))[0])),
    SortKey.TO: ("to", _mailbox("to")),
    SortKey.DISPLAYFROM: ("from", _display("from")),
    SortKey.DISPLAYTO: ("to", _display("to")),
}


async def sort(
    messages: Messages, view: View, uids: Sequence[int], order: Sequence[SortBy], scores: Mapping[int, int]
) -> list[int]:
    """Those of `uids` (ascending) that still exist, in `order`; equal ones as in the mailbox (RFC 5256 §3).

    Args:
        scores: relevancy by UID; the most relevant come first (RFC 6203 §5).

    Raises: Unavailable.
    """
    keys = [by.key for by in order]
    fields = {KEYS[key][0] for key in keys if key in KEYS}
    rows: list[Row] = []
    async for documents in messages.fields(view.mailbox.user, view.mailbox.id, uids, fields):
        rows += await asyncio.to_thread(_rows, documents, keys, scores)
    return await asyncio.to_thread(_sorted, rows, [by.reverse for by in order])


def _rows(documents: Iterable[Mapping[str, Any]], keys: Sequence[SortKey], scores: Mapping[int, int]) -> list[Row]:
    """UID, then the value of each key."""
    rows = []
    for document in documents:
        uid = int(document["uid"])
        values = (KEYS[key][1](document) if key in KEYS else -scores.get(uid, 0) for key in keys)
        rows.append((uid, *values))
    return rows


def _sorted(rows: list[Row], reverses: Sequence[bool]) -> list[int]:
    """By the last key first, each pass keeps what the one before has done."""
    for place in range(len(reverses), 0, -1):
        rows = stable(rows, lambda row, place=place: row[place], reverse=reverses[place - 1])  # type: ignore[misc]
    return [row[0] for row in rows]


def stable(rows: Sequence[T], key: Callable[[T], Any], *, reverse: bool = False) -> list[T]:
    """As `sorted` has it, in steps that let other threads run."""
    runs = [sorted(rows[start : start + RUN], key=key, reverse=reverse) for start in range(0, len(rows), RUN)]
    return (runs or [[]])[0] if len(runs) < 2 else list(heapq.merge(*runs, key=key, reverse=reverse))
