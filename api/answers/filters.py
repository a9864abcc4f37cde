"""What operations of the tag Filters answer."""

from api.answers.base import Answer, Anything, Date, Operation, absent
from api.answers.shared import SuccessResponse


class GetAllFiltersResult(Answer):
    id: str
    user: str
    name: str
    created: Date
    query: list[list[str | bool | int]]
    action: list[list[str]]
    disabled: bool
    metaData: Anything = absent()
    targets: list[str] = absent()


class GetAllFiltersResponse(Answer):
    success: bool
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    results: list[GetAllFiltersResult]


class GetFiltersResponseLimits(Answer):
    allowed: int = absent()
    used: int = absent()


class GetFiltersResult(Answer):
    id: str
    name: str
    created: Date
    query: list[list[str | bool | int]]
    action: list[list[str]]
    disabled: bool
    metaData: Anything = absent()


class GetFiltersResponse(Answer):
    success: bool
    limits: GetFiltersResponseLimits
    results: list[GetFiltersResult]


class CreateFilterResponse(Answer):
    success: bool
    id: str


class UpdateFilterResponse(Answer):
    success: bool


class FilterQuery(Answer):
    from_: str = absent("from")
    to: str = absent()
    subject: str = absent()
    listId: str = absent()
    text: str = absent()
    ha: bool = absent()
    size: int = absent()


class FilterAction(Answer):
    seen: bool = absent()
    flag: bool = absent()
    delete: bool = absent()
    spam: bool = absent()
    mailbox: str = absent()
    targets: list[str] = absent()


class GetFilterResponse(Answer):
    success: bool
    id: str
    name: str
    created: Date
    query: FilterQuery
    action: FilterAction
    disabled: bool
    metaData: Anything = absent()


OPERATIONS = {
    "GET /filters": Operation("getAllFilters", GetAllFiltersResponse),
    "GET /users/{user}/filters": Operation("getFilters", GetFiltersResponse),
    "POST /users/{user}/filters": Operation("createFilter", CreateFilterResponse),
    "GET /users/{user}/filters/{filter}": Operation("getFilter", GetFilterResponse),
    "DELETE /users/{user}/filters/{filter}": Operation("deleteFilter", SuccessResponse),
    "PUT /users/{user}/filters/{filter}": Operation("updateFilter", UpdateFilterResponse),
}
