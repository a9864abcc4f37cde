"""Cursors of listings that are sorted by a date: `[{"$date": ...}, key]`, where `key` tells equal dates apart."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import orjson

from api.answer import iso
from api.errors import ValidationFailed
from api.paging import Paged

PlaceT = TypeVar("PlaceT")

_MOST_PAGES = 2**31


@dataclass(frozen=True, slots=True)
class Found(Generic[PlaceT]):
    """Where a page begins: behind `after`, or right ahead of `before`; None for the start."""

    after: PlaceT | None = None
    before: PlaceT | None = None
    page: int = 1


def find_place(request: Paged, make: Callable[[datetime, object], PlaceT]) -> Found[PlaceT]:
    """`make`: what the parts of a cursor stand for; ValueError or TypeError when they are none.

    Raises: ValidationFailed for a cursor that was not given by `place_cursors`.
    """
    if request.next:
        after, page = _decode(request.next, "next", "Next page cursor", make)
        return Found(after=after, page=page)
    if request.previous:
        before, page = _decode(request.previous, "previous", "Previous page cursor", make)
        return Found(before=before, page=page)
    return Found()


def place_cursors(
    page: int,
    first: tuple[datetime, object] | None,
    last: tuple[datetime, object] | None,
    *,
    has_previous: bool,
    has_next: bool,
) -> dict[str, object]:
    """`page`, `previousCursor`, `nextCursor` of an answer. `first`, `last`: of the page, None for an empty one."""
    number = page if has_previous else 1
    return {
        "page": number,
        "previousCursor": _encode(first, max(number - 1, 0)) if has_previous and first else False,
        "nextCursor": _encode(last, number + 1) if has_next and last else False,
    }


def _encode(place: tuple[datetime, object], page: int) -> str:
    inner = orjson.dumps([{"$date": iso(place[0])}, place[1]]).decode()
    return urlsafe_b64encode(orjson.dumps([inner, page])).rstrip(b"=").decode()


def _decode(text: str, key: str, label: str, make: Callable[[datetime, object], PlaceT]) -> tuple[PlaceT, int]:
    try:
        value = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        inner, page = orjson.loads(value[0]), value[1]
        moment, rest = datetime.fromisoformat(inner[0]["$date"]), inner[1]
        if type(page) is int and 0 <= page < _MOST_PAGES and moment.tzinfo is not None:
            return make(moment, rest), page
    except (ValueError, TypeError, LookupError, OverflowError, binascii.Error):
        pass
    message = f'"{label}" is not valid'
    raise ValidationFailed([message], {key: message})
