"""TwoFactorAuth: one-time codes and custom second factors."""

from api.answer import Json
from api.errors import Rows
from api.route import Call, Route, keep_token, route
from api.schemas.mfa import OneAccount, SetupTotp, TotpCode
from duckmail.errors import AlreadyExists, AuthenticationFailed, Cannot, NotFound

_DONE: Json = {"success": True}


async def setup_totp(call: Call, request: SetupTotp) -> Json:
    setup = await call.services.mfa.setup_totp(request.user, request.issuer, request.label, call.by)
    return {**_DONE, "seed": setup.seed, "qrcode": setup.qrcode}


async def enable_totp(call: Call, request: TotpCode) -> Json:
    await keep_token(call, await call.services.mfa.enable_totp(request.user, request.token, call.by, request.trace))
    return _DONE


async def check_totp(call: Call, request: TotpCode) -> Json:
    await call.services.mfa.check_totp(request.user, request.token, call.by, request.trace)
    return _DONE


async def disable_totp(call: Call, request: OneAccount) -> Json:
    await call.services.mfa.disable_totp(request.user, call.by, request.trace)
    return _DONE


async def enable_custom(call: Call, request: OneAccount) -> Json:
    await keep_token(call, await call.services.mfa.enable_custom(request.user, call.by, request.trace))
    return _DONE


async def disable_custom(call: Call, request: OneAccount) -> Json:
    await call.services.mfa.disable_custom(request.user, call.by, request.trace)
    return _DONE


async def disable_all(call: Call, request: OneAccount) -> Json:
    await call.services.mfa.disable_all(request.user, call.by, request.trace)
    return _DONE


_NO_USER = (404, "UserNotFound")
_TOTP: Rows = {NotFound: _NO_USER, AlreadyExists: (400, "TotpEnabled"), Cannot: (400, "TotpDisabled")}
_ENABLE: Rows = {**_TOTP, AuthenticationFailed: (400, "InvalidToken")}
_CHECK: Rows = {**_TOTP, AuthenticationFailed: (403, "InvalidToken")}
_CUSTOM: Rows = {NotFound: _NO_USER, AlreadyExists: (400, "CustomEnabled"), Cannot: (400, "CustomDisabled")}

ROUTES: tuple[Route, ...] = (
    route("POST", "/users/{user}/2fa/totp/setup", SetupTotp, setup_totp, errors=_TOTP),
    route("POST", "/users/{user}/2fa/totp/enable", TotpCode, enable_totp, errors=_ENABLE),
    route("DELETE", "/users/{user}/2fa/totp", OneAccount, disable_totp, errors=_TOTP),
    route("POST", "/users/{user}/2fa/totp/check", TotpCode, check_totp, errors=_CHECK),
    route("PUT", "/users/{user}/2fa/custom", OneAccount, enable_custom, errors=_CUSTOM),
    route("DELETE", "/users/{user}/2fa/custom", OneAccount, disable_custom, errors=_CUSTOM),
    route("DELETE", "/users/{user}/2fa", OneAccount, disable_all),
)
