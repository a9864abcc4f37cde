"""ApplicationPasswords: passwords of single mail programs, made, listed and removed."""

from base64 import b64encode

from api.answer import Json, iso, without_none
from api.errors import ApiError, Rows
from api.route import Call, Route, route
from api.schemas.asps import CreateAsp, ListAsps, OneAsp
from duckmail.errors import LimitReached, NotFound
from duckmail.model.account import User
from duckmail.model.credentials import ApplicationPassword
from duckmail.services.asps import NewAsp, listed_scopes
from duckmail.services.profile import Holder


def _row(asp: ApplicationPassword) -> Json:
    used = {"time": iso(asp.last_use), "event": asp.last_event} if asp.last_use else {}
    return {
        "id": asp.id,
        "description": asp.description,
        "scopes": list(listed_scopes(asp)),
        "lastUse": used,
        "created": iso(asp.created),
    }


async def list_asps(call: Call, request: ListAsps) -> Json:
    found = await call.services.asps.list(request.user, call.by, temporary=request.show_all)
    results = [without_none(**_row(asp), expires=iso(asp.expires) if asp.expires else None) for asp in found]
    return {"success": True, "results": results}


async def read(call: Call, request: OneAsp) -> Json:
    return {"success": True, **_row(await call.services.asps.get(request.user, request.asp, call.by))}


async def create(call: Call, request: CreateAsp) -> Json:
    services = call.services
    scopes = frozenset(request.scopes)
    incoming = scopes & {"imap", "pop3", "*"}
    if request.generate_mobileconfig and not (incoming and scopes & {"smtp", "*"}):
        text = "Profile file requires either imap or pop3 and smtp scopes"
        raise ApiError(400, "InvalidAuthScope", text)
    user = await services.users.get(request.user, call.by)
    address = await _address(call, user, request.address)
    new = NewAsp(description=request.description, scopes=request.scopes, password=request.password, ttl=request.ttl)
    try:
        asp, password = await services.asps.create(request.user, new, call.by, request.trace)
    except LimitReached as error:
        raise ApiError(403, "TooMany", error.text, allowed=error.fields["allowed"]) from error
    answer: Json = {"success": True, "id": asp.id, "password": password}
    if request.generate_mobileconfig:
        holder = Holder(
            user=user.id,
            username=user.username,
            name=user.name,
            address=address,
            description=request.description,
            asp=asp.id,
            password=password,
            imap=bool(scopes & {"imap", "*"}),
        )
        answer["mobileconfig"] = b64encode(await services.profiles.make(holder)).decode()
        answer |= {"name": user.name or user.username, "address": address}
    return answer


async def _address(call: Call, user: User, wanted: str) -> str:
    try:
        return await call.services.asps.address(user, wanted)
    except NotFound as error:
        raise ApiError(404, "AddressNotFound", error.text) from error


async def delete(call: Call, request: OneAsp) -> Json:
    await call.services.asps.delete(request.user, request.asp, call.by, request.trace)
    return {"success": True}


_NO_USER: Rows = {NotFound: (404, "UserNotFound")}
_NO_ASP: Rows = {NotFound: (404, "AspNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/users/{user}/asps", ListAsps, list_asps, errors=_NO_USER),
    route("POST", "/users/{user}/asps", CreateAsp, create, errors=_NO_USER),
    route("GET", "/users/{user}/asps/{asp}", OneAsp, read, errors=_NO_ASP),
    route("DELETE", "/users/{user}/asps/{asp}", OneAsp, delete, errors=_NO_ASP),
)
