"""Requests about tasks: operations of our own, beside the contract."""

from typing import Annotated

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier


class ListTasks(Paged):
    ended: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = True


class OneTask(Traced):
    task: Annotated[str, identifier()]
