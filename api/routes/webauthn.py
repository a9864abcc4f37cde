"""TwoFactorAuth: security keys."""

from api.answer import Json, without_none
from api.errors import Rows
from api.route import Call, Route, route
from api.schemas.webauthn import AskAuthentication, AskRegistration, Assertion, Attestation, OneAccount, OneKey
from duckmail.errors import Cannot, NotFound
from duckmail.services.webauthn import ALGORITHMS, Answer, Ask, Asked

TIMEOUT = 60_000  # milliseconds that a browser waits for its user
_TRANSPORTS = {"platform": ["internal"], "cross-platform": ["usb", "nfc", "ble"]}


async def list_keys(call: Call, request: OneAccount) -> Json:
    keys = await call.services.webauthn.keys(request.user, call.by)
    return {"success": True, "credentials": [key.shown for key in keys]}


async def remove(call: Call, request: OneKey) -> Json:
    deleted = await call.services.webauthn.remove(request.user, request.credential, call.by, request.trace)
    return {"success": True, "deleted": deleted}


def _ask(request: AskAuthentication, description: str = "") -> Ask:
    return Ask(
        origin=request.origin,
        attachment=request.authenticator_attachment,
        rp_id=request.rp_id,
        description=description,
    )


async def ask_registration(call: Call, request: AskRegistration) -> Json:
    asked = await call.services.webauthn.ask_registration(request.user, _ask(request, request.description), call.by)
    user, attachment = asked.user, request.authenticator_attachment
    excluded = [
        {"rawId": key.raw_id.hex(), "type": "public-key", "transports": _TRANSPORTS[attachment]} for key in asked.keys
    ]
    options = without_none(
        challenge=asked.challenge.hex(),
        rp={"id": asked.rp.id, "name": asked.rp.name},
        user={"id": user.id, "name": user.address or user.username, "displayName": user.name or user.username},
        pubKeyCredParams=[{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        timeout=TIMEOUT,
        attestation="none",
        authenticatorSelection={
            "authenticatorAttachment": attachment,
            "requireResidentKey": False,
            "userVerification": "discouraged",
        },
        excludeCredentials=excluded or None,
    )
    return {"success": True, "registrationOptions": options}


async def register(call: Call, request: Attestation) -> Json:
    answer = Answer(
        challenge=request.challenge,
        raw_id=request.raw_id,
        client_data=request.client_data,
        attestation=request.attestation_object,
        rp_id=request.rp_id,
    )
    key = await call.services.webauthn.register(request.user, answer, call.by, request.trace)
    # Nested, unlike the contract: that is how clients know it.
    return {"success": True, "response": {"success": True, **key.shown}}


async def ask_authentication(call: Call, request: AskAuthentication) -> Json:
    asked = await call.services.webauthn.ask_authentication(request.user, _ask(request), call.by)
    return {"success": True, "authenticationOptions": _options(asked)}


def _options(asked: Asked) -> Json:
    challenge = asked.challenge.hex()
    return {
        "challenge": challenge,
        "rawChallenge": challenge,
        "allowCredentials": [{"rawId": key.raw_id.hex(), "type": "public-key"} for key in asked.keys],
        "rpId": asked.rp.id,
        "attestation": "none",
        "extensions": {},
        "userVerification": "discouraged",
        "timeout": TIMEOUT,
    }


async def authenticate(call: Call, request: Assertion) -> Json:
    answer = Answer(
        challenge=request.challenge,
        raw_id=request.raw_id,
        client_data=request.client_data,
        authenticator_data=request.authenticator_data,
        signature=request.signature,
        rp_id=request.rp_id,
    )
    user, key = await call.services.webauthn.authenticate(request.user, answer, call.by, request.trace)
    wanted = request.token and call.by.role != "auth"
    token = await call.services.tokens.issue("user", user) if wanted else None
    return without_none(success=True, response={"authenticated": True, "credential": key.id}, token=token)


_ERRORS: Rows = {NotFound: (404, "UserNotFound"), Cannot: (400, "WebAuthnDisabled")}
_BASE = "/users/{user}/2fa/webauthn"

ROUTES: tuple[Route, ...] = (
    route("GET", f"{_BASE}/credentials", OneAccount, list_keys, errors=_ERRORS),
    route("DELETE", f"{_BASE}/credentials/{{credential}}", OneKey, remove, errors=_ERRORS),
    route("POST", f"{_BASE}/registration-challenge", AskRegistration, ask_registration, errors=_ERRORS),
    route("POST", f"{_BASE}/registration-attestation", Attestation, register, errors=_ERRORS),
    route("POST", f"{_BASE}/authentication-challenge", AskAuthentication, ask_authentication, errors=_ERRORS),
    route("POST", f"{_BASE}/authentication-assertion", Assertion, authenticate, errors=_ERRORS),
)
