"""Answers to the challenges by which an authority has a server name proved (RFC 8555 §8.3); they need no token."""

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

CHALLENGE = "/.well-known/acme-challenge/{token}"
# RFC 8555 §8.3: base64url; 128 bits of entropy at least.
_TOKEN = re.compile("[A-Za-z0-9_-]{20,128}")


class Challenges(Protocol):
    """What is needed of `duckmail.services.certs.acme.Acme`."""

    async def answer(self, token: str, /) -> str | None:
        """What the authority is to find; None for what it has not asked for."""
        ...


def challenge_answer(challenges: Challenges) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        token = request.match_info["token"]
        answer = await challenges.answer(token) if _TOKEN.fullmatch(token) else None
        if answer is None:
            raise web.HTTPNotFound
        # RFC 8555 §8.3: the media type that the answer should have.
        headers = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=answer.encode(), headers=headers)

    return handle
