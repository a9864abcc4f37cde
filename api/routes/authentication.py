"""Authentication: trusted callers check a user's password, and get a token for the user."""

import ipaddress

from api.answer import Json, without_none
from api.errors import ApiError, Rows, translate
from api.route import Call, Route, route
from api.schemas.authentication import Authenticate, PreAuth
from api.schemas.base import Nothing
from duckmail.errors import AccountDisabled, AuthenticationFailed, NotYetValid
from duckmail.model.account import User
from duckmail.services.attempts import MASTER

_ROWS: Rows = {AccountDisabled: (403, "InvalidAuthScope"), NotYetValid: (403, "TempPasswordNotYetValid")}


def _network(ip: str) -> str:
    """The throttle's key of the address that the caller names, "" for none: the caller's own address says nothing."""
    if not ip:
        return ""
    address = ipaddress.ip_address(ip)
    return str(ipaddress.ip_network((address, 32 if address.version == 4 else 64), strict=False))


def _refused(error: AuthenticationFailed | AccountDisabled) -> ApiError:
    user = error.fields.get("user")
    return translate(error, _ROWS, **({"id": user} if user else {}))


async def authenticate(call: Call, request: Authenticate) -> Json:
    services = call.services
    try:
        signed_in = await services.auth.sign_in(
            request.username,
            request.password,
            request.scope,
            _network(request.ip),
            request.protocol,
            trace=request.trace,
        )
    except (AuthenticationFailed, AccountDisabled) as error:
        raise _refused(error) from error
    user = signed_in.user
    token = None
    if request.token and call.by.role != "auth":
        token = await services.tokens.issue("user", user)
    who = _who(user, request.scope)
    if signed_in.change_password:
        who["require2fa"] = False
    if signed_in.asp is not None:
        return {key: value for key, value in who.items() if key != "address"}
    return without_none(**who, requirePasswordChange=signed_in.change_password, token=token)


async def preauth(call: Call, request: PreAuth) -> Json:
    try:
        user = await call.services.auth.look_up(request.username, request.scope)
    except (AuthenticationFailed, AccountDisabled) as error:
        raise _refused(error) from error
    return _who(user, request.scope)


def _who(user: User, scope: str) -> Json:
    return {
        "success": True,
        "id": user.id,
        "username": user.username,
        "address": user.address,
        "scope": scope,
        "require2fa": (list(user.enabled_2fa) if scope == MASTER else []) or False,
    }


async def forget(call: Call, _: Nothing) -> Json:
    """Ends the role token of the call itself."""
    if call.caller.digest:
        await call.services.tokens.revoke(call.caller.digest)
    return {"success": True}


ROUTES: tuple[Route, ...] = (
    route("POST", "/authenticate", Authenticate, authenticate),
    route("POST", "/preauth", PreAuth, preauth),
    route("DELETE", "/authenticate", Nothing, forget),
)
