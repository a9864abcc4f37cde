"""Requests about the outbound queue: operations of our own, beside the contract."""

from typing import Annotated

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier


class ListQueue(Paged):
    ended: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False


class OneQueued(Traced):
    message: Annotated[str, identifier()]


class HoldQueued(OneQueued):
    held: Annotated[bool, boolean()]


class RemoveQueued(OneQueued):
    notify: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False
