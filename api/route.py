"""One operation of the API: path, permission, request model, handler and its own rows of the error table."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel

from api.answer import Json, json_response
from api.auth import Caller
from api.errors import Rows, translate
from api.permissions import Permission, permission_of, require
from api.reading import Input
from api.schemas.base import parse
from api.services import ApiServices
from duckmail.errors import DuckmailError
from duckmail.model.account import Principal, User

BODY_LIMIT = 4 << 20  # octets, for operations that carry no mail: two JSON objects of 1 MiB and change
UPLOAD_LIMIT = (64 << 20) * 4 // 3 + BODY_LIMIT  # octets, for those that do: 64 MiB in base64, and what is beside it

RequestT = TypeVar("RequestT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler works with, beside its request."""

    services: ApiServices
    caller: Caller
    body: AsyncIterator[bytes]  # what was not read as parameters

    @property
    def by(self) -> Principal:
        return self.caller.principal


Answer = Json | web.StreamResponse
Bound = Callable[[Call], Awaitable[Answer]]


async def keep_token(call: Call, user: User) -> None:
    """The token that changed how its own account signs in stays valid."""
    if call.caller.digest and call.by.user == user.id:
        await call.services.tokens.renew(call.caller.digest, user)


@dataclass(frozen=True, slots=True)
class Route:
    """`bind` validates the input by `model` and gives what carries it out. `echo`: values repeated in errors.

    `raw`: the key of a body that is neither JSON nor a form, "" where there is none. `body_limit`: octets.
    `headers`: fields of the request that are input as well, behind path and query.
    """

    method: str
    path: str
    permission: Permission | None
    model: type[BaseModel]
    bind: Callable[[Input], Bound]
    errors: Rows = field(default_factory=dict)
    echo: tuple[str, ...] = ()
    body_limit: int = BODY_LIMIT
    raw: str = ""
    headers: tuple[str, ...] = ()

    async def run(
        self, services: ApiServices, caller: Caller, values: Input, body: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        """Raises: ApiError; what no row expects comes through as it is."""
        bound = self.bind(values)
        require(caller.principal.role, self.permission)
        try:
            answer = await bound(Call(services, caller, body))
        except DuckmailError as error:
            extra = {name: values[name] for name in self.echo if name in values}
            raise translate(error, self.errors, **extra) from error
        return json_response(answer) if isinstance(answer, dict) else answer


def route(
    method: str,
    path: str,
    model: type[RequestT],
    handler: Callable[[Call, RequestT], Awaitable[Answer]],
    permission: Permission | None = None,
    *,
    errors: Rows | None = None,
    echo: tuple[str, ...] = (),
    body_limit: int = BODY_LIMIT,
    raw: str = "",
    headers: tuple[str, ...] = (),
) -> Route:
    """`path`: as in the contract; a parameter `{user}` may be empty, which its type then reports.
    `permission`: of an operation that the contract lacks; the others have their row in `api.permissions`.
    """

    def bind(values: Input) -> Bound:
        request = parse(model, values)
        return lambda call: handler(call, request)

    access = permission_of(method, path, permission)
    return Route(method, path, access, model, bind, errors or {}, echo, body_limit, raw, headers)
