"""Requests of the authlog, part of the tag Authentication."""

from typing import Annotated

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier, ip_address, number, text


class ListEvents(Paged):
    user: Annotated[str, identifier()]
    action: Annotated[str, text(100), EMPTY_IS_ABSENT] = ""
    filterip: Annotated[str, ip_address(), EMPTY_IS_ABSENT] = ""
    page: Annotated[int, number(0), EMPTY_IS_ABSENT] = 0


class OneEvent(Traced):
    user: Annotated[str, identifier()]
    event: Annotated[str, identifier()]
