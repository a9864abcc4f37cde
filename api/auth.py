"""Who calls: the token's source, and what it stands for."""

import hmac
from dataclasses import dataclass

from aiohttp import web

from api.errors import FrameworkError
from api.services import ApiSettings
from duckmail.model.account import Principal
from duckmail.services.tokens import Tokens

ROOT = "root"


@dataclass(frozen=True, slots=True)
class Caller:
    """`digest`: of the role token that was used, empty for the static one or none."""

    principal: Principal
    digest: bytes = b""


def find_token(request: web.Request) -> str | None:
    """The token of the first source that is there; the others are not looked at. None without any."""
    if "accessToken" in request.query:
        return request.query["accessToken"]
    if "X-Access-Token" in request.headers:
        return request.headers["X-Access-Token"]
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else header.strip()


async def identify(request: web.Request, tokens: Tokens, settings: ApiSettings) -> Caller:
    """Raises: FrameworkError when a token is needed or the one given is not valid; Unavailable."""
    token = find_token(request)
    if not token:
        if settings.access_control or settings.access_token:
            raise invalid_token()
        return Caller(Principal(user="", username="", role=ROOT))
    octets = token.encode("utf-8", "surrogateescape")
    if settings.access_token and hmac.compare_digest(octets, settings.access_token.encode()):
        return Caller(Principal(user="", username="", role=ROOT))
    grant = await tokens.check(token)
    if grant is None:
        raise invalid_token()
    return Caller(Principal(user=grant.user, username=grant.username, role=grant.role), grant.digest)


def invalid_token() -> FrameworkError:
    return FrameworkError(403, "InvalidToken", "Invalid accessToken value")
