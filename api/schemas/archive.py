"""Requests of the tag Archive."""

from datetime import datetime
from typing import Annotated

from api.paging import MAX_PAGE, Paged
from api.schemas.base import Traced
from api.schemas.messages import Headers, Order
from api.schemas.types import EMPTY_IS_ABSENT, identifier, moment, number

Id = Annotated[str, identifier()]


class ListArchived(Paged):
    user: Id
    limit: Annotated[int, number(1, MAX_PAGE), EMPTY_IS_ABSENT] = 20
    order: Order = "desc"
    include_headers: Headers = False


class RestoreOne(Traced):
    user: Id
    message: Id
    mailbox: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""


class RestoreRange(Traced):
    user: Id
    start: Annotated[datetime, moment(required=True)]
    end: Annotated[datetime, moment(required=True)]
