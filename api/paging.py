"""Cursors of listings: base64url of a JSON array `[inner, page number]`, where `inner` is JSON in a string.

Clients treat them as opaque. A cursor gives no access: it only says where in the caller's own listing to go on.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar

import orjson

from api.answer import Json
from api.errors import ValidationFailed
from api.schemas.base import Lenient
from api.schemas.types import EMPTY_IS_ABSENT, cursor, number

MAX_PAGE = 250
_ID = re.compile(r"[0-9a-f]{24}")
_LARGEST = 2**31


class Paged(Lenient):
    """A listing's request; `next` beats `previous`."""

    limit: Annotated[int, number(1, MAX_PAGE)] = 20
    next: Annotated[str, cursor(), EMPTY_IS_ABSENT] = ""
    previous: Annotated[str, cursor(), EMPTY_IS_ABSENT] = ""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of an id-sorted listing begins: behind `after`, or right ahead of `before`; "" for the start."""

    after: str = ""
    before: str = ""
    page: int = 1


def position(request: Paged) -> Position:
    """Raises: ValidationFailed for a cursor that was not given by `cursors`."""
    if request.next:
        identifier, page = _decode(request.next, "next", "Next page cursor")
        return Position(after=identifier, page=page)
    if request.previous:
        identifier, page = _decode(request.previous, "previous", "Previous page cursor")
        return Position(before=identifier, page=page)
    return Position()


def cursors(page: int, ids: list[str], has_previous: bool, has_next: bool) -> dict[str, object]:
    """`page`, `previousCursor`, `nextCursor` of an answer. `ids`: of the page, in order."""
    number = page if has_previous else 1
    return {
        "page": number,
        "previousCursor": _encode(ids[0], max(number - 1, 0)) if has_previous and ids else False,
        "nextCursor": _encode(ids[-1], number + 1) if has_next and ids else False,
    }


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


V = TypeVar("V", bound=_Identified)


def forwards(limit: int, at: Position, found: Sequence[V], row: Callable[[V], Json]) -> Json:
    """The answer of a listing that is read forwards only. `found`: behind `at`, one more than `limit` if there is."""
    page = found[:limit]
    return {
        "success": True,
        "page": at.page,
        "previousCursor": False,
        "nextCursor": _encode(page[-1].id, at.page + 1) if len(found) > len(page) else False,
        "results": [row(each) for each in page],
    }


def text_position(request: Paged) -> Position:
    """As `position`, of a listing that is sorted by a text, which is where the page begins."""
    if request.next:
        found, page = _decode_text(request.next, "next", "Next page cursor")
        return Position(after=found, page=page)
    if request.previous:
        found, page = _decode_text(request.previous, "previous", "Previous page cursor")
        return Position(before=found, page=page)
    return Position()


def text_cursors(page: int, rows: list[tuple[str, str]], has_previous: bool, has_next: bool) -> dict[str, object]:
    """As `cursors`. `rows`: (text, id) of the page, in order."""
    number = page if has_previous else 1
    return {
        "page": number,
        "previousCursor": _encode_text(*rows[0], max(number - 1, 0)) if has_previous and rows else False,
        "nextCursor": _encode_text(*rows[-1], number + 1) if has_next and rows else False,
    }


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a page of a listing by text begins whose texts are not unique: (text, id), None for the start."""

    after: tuple[str, str] | None = None
    before: tuple[str, str] | None = None
    page: int = 1


def text_spot(request: Paged) -> Spot:
    """Raises: ValidationFailed for a cursor that was not given by `text_cursors`."""
    if request.next:
        found, identifier, page = _decode_spot(request.next, "next", "Next page cursor")
        return Spot(after=(found, identifier), page=page)
    if request.previous:
        found, identifier, page = _decode_spot(request.previous, "previous", "Previous page cursor")
        return Spot(before=(found, identifier), page=page)
    return Spot()


def _encode_text(text: str, identifier: str, page: int) -> str:
    inner = orjson.dumps([text, {"$oid": identifier}]).decode()
    return urlsafe_b64encode(orjson.dumps([inner, page])).rstrip(b"=").decode()


def _decode_text(cursor: str, key: str, label: str) -> tuple[str, int]:
    found, _, page = _decode_spot(cursor, key, label)
    return found, page


def _decode_spot(cursor: str, key: str, label: str) -> tuple[str, str, int]:
    try:
        value = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        inner, page = orjson.loads(value[0]), value[1]
        found, identifier = inner[0], str(inner[1]["$oid"])
    except (ValueError, TypeError, LookupError, binascii.Error):
        found, identifier, page = "", "", 0
    usable = isinstance(found, str) and found and type(page) is int and 0 <= page < _LARGEST
    if usable and _ID.fullmatch(identifier):
        return found, identifier, page
    message = f'"{label}" is not valid'
    raise ValidationFailed([message], {key: message})


def _encode(identifier: str, page: int) -> str:
    inner = orjson.dumps({"$oid": identifier}).decode()
    return urlsafe_b64encode(orjson.dumps([inner, page])).rstrip(b"=").decode()


def _decode(text: str, key: str, label: str) -> tuple[str, int]:
    try:
        value = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        # A cursor without a page number is accepted as well.
        inner, page = (orjson.loads(value[0]), value[1]) if isinstance(value, list) else (value, 1)
        identifier = str(inner["$oid"])
    except (ValueError, TypeError, LookupError, binascii.Error):
        identifier, page = "", 0
    if _ID.fullmatch(identifier) and type(page) is int and 0 <= page < _LARGEST:
        return identifier, page
    message = f'"{label}" is not valid'
    raise ValidationFailed([message], {key: message})
