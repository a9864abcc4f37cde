"""What operations of the tag ApplicationPasswords answer."""

from typing import Literal

from api.answers.base import Answer, Date, Operation, absent
from api.answers.shared import SuccessResponse


class LastUse(Answer):
    time: Date = absent()
    event: str = absent()


class GetASPsResult(Answer):
    id: str
    description: str
    scopes: list[Literal["imap", "pop3", "smtp", "*"]]
    lastUse: LastUse
    created: Date
    expires: Date = absent()


class GetASPsResponse(Answer):
    success: bool
    results: list[GetASPsResult]


class CreateASPResponse(Answer):
    success: bool
    id: str
    password: str
    mobileconfig: str = absent()
    name: str = absent()
    address: str = absent()


class GetASPResponse(Answer):
    success: bool
    id: str
    description: str
    scopes: list[Literal["imap", "pop3", "smtp", "*"]]
    lastUse: LastUse
    created: Date
    expires: Date = absent()


OPERATIONS = {
    "GET /users/{user}/asps": Operation("getASPs", GetASPsResponse),
    "POST /users/{user}/asps": Operation("createASP", CreateASPResponse),
    "GET /users/{user}/asps/{asp}": Operation("getASP", GetASPResponse),
    "DELETE /users/{user}/asps/{asp}": Operation("deleteASP", SuccessResponse),
}
