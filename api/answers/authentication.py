"""What operations of the tag Authentication answer."""

from api.answers.base import Answer, Date, Operation, absent
from api.answers.shared import SuccessResponse


class PreAuthCheckResponse(Answer):
    success: bool
    id: str
    username: str
    address: str
    scope: str
    require2fa: list[str] | bool


class AuthenticateResponse(Answer):
    success: bool
    id: str
    username: str
    address: str
    scope: str
    require2fa: list[str] | bool
    requirePasswordChange: bool
    token: str = absent()


class GetAuthlogResult(Answer):
    """What a kind of event does not have is null."""

    id: str
    key: str
    action: str
    result: str | None
    sess: str | None = absent()
    ip: str | None = absent()
    appId: str | None
    created: Date
    protocol: str | None = absent()
    requiredScope: str | None = absent()
    last: Date
    events: int
    source: str | None = absent()
    asp: str | None
    aname: str | None
    temporary: bool | None
    require2fa: list[str] | bool | None
    target: str | None
    filter: str | None
    credential: str | None
    expires: Date


class GetAuthlogResponse(Answer):
    success: bool
    action: str
    total: int
    page: int
    previousCursor: str | bool = absent()
    nextCursor: str | bool = absent()
    results: list[GetAuthlogResult]


class GetGetAuthlogResultResponse(GetAuthlogResult):
    success: bool


OPERATIONS = {
    "POST /preauth": Operation("preauth", PreAuthCheckResponse),
    "POST /authenticate": Operation("authenticate", AuthenticateResponse),
    "DELETE /authenticate": Operation("invalidateAccessToken", SuccessResponse),
    "GET /users/{user}/authlog": Operation("getAuthlog", GetAuthlogResponse),
    "GET /users/{user}/authlog/{event}": Operation("getAuthlogEvent", GetGetAuthlogResultResponse),
}
