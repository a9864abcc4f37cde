"""Requests of the tag Filters."""

from typing import Annotated, Any

from pydantic import Field

from api.paging import Paged
from api.schemas.base import Request, Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, json_object, number, or_empty, target, text

Id = Annotated[str, identifier()]
Flag = Annotated[bool, boolean(), EMPTY_IS_ABSENT]
Word = Annotated[str, text(255, empty=True)]
_MOST_SIZE = 2**40  # octets


class _Clearable(Request):
    """What is given as "" is unset."""

    def attributes(self) -> dict[str, Any]:
        """All attributes that were given, None for the empty ones."""
        given = self.given(*type(self).model_fields)
        return {name: None if value == "" else value for name, value in given.items()}


class Query(_Clearable):
    from_: Word = Field("", alias="from")
    to: Word = ""
    subject: Word = ""
    list_id: Word = ""
    text: Word = ""
    ha: Annotated[bool | str, or_empty(boolean())] = ""
    size: Annotated[int | str, or_empty(number(-_MOST_SIZE, _MOST_SIZE))] = ""


class Action(_Clearable):
    seen: Annotated[bool | str, or_empty(boolean())] = ""
    flag: Annotated[bool | str, or_empty(boolean())] = ""
    delete: Annotated[bool | str, or_empty(boolean())] = ""
    spam: Annotated[bool | str, or_empty(boolean())] = ""
    mailbox: Annotated[str, or_empty(identifier())] = ""
    targets: Annotated[tuple[Annotated[str, target()], ...], Field(max_length=100)] = ()


class CreateFilter(Traced):
    user: Id
    query: Query
    action: Action
    name: Annotated[str, text(255, empty=True)] = ""
    disabled: Flag = False
    meta_data: Annotated[str, json_object()] = "{}"


class UpdateFilter(Traced):
    user: Id
    filter: Id
    query: Query | None = None
    action: Action | None = None
    name: Annotated[str, text(255, empty=True)] = ""
    disabled: Flag = False
    meta_data: Annotated[str, json_object()] = "{}"


class ListFilters(Paged):
    forward: Annotated[str, text(255, empty=True)] = ""
    meta_data: Flag = False


class UserFilters(Traced):
    user: Id
    meta_data: Flag = False


class OneFilter(Traced):
    user: Id
    filter: Id
