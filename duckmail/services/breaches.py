"""Passwords that others have lost already, looked up without telling them: k-anonymity by ranges.

A server gets the first 5 of the 40 hexadecimal digits of a password's SHA-1, and answers with all it knows that begin
so (the form of haveibeenpwned.com's Pwned Passwords). When it does not answer, the password counts as unknown.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from typing import Protocol

from duckmail.errors import DuckmailError, InsecurePassword
from duckmail.runtime.log import event

SECONDS = 5.0  # one look-up; somebody waits for it
LARGEST = 1 << 20  # octets of an answer; they are 40,000 or so
_PREFIX = 5  # digits that are told

_logger = logging.getLogger("duckmail.auth")


class HttpAnswer(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


class HttpClient(Protocol):
    """What is needed of `duckmail.clients.http.Http`."""

    async def get(self, url: str, *, largest: int, headers: Mapping[str, str] | None) -> HttpAnswer:
        """Raises: Unavailable."""
        ...


class Breaches:
    def __init__(self, client: HttpClient, url: str) -> None:
        """`url`: what the first digits are appended to; "" looks nothing up."""
        self._client = client
        self._url = url

    async def require_unknown(self, password: str) -> None:
        """Raises: InsecurePassword: the list has it."""
        if self._url and await self._is_known(password):
            raise InsecurePassword

    async def _is_known(self, password: str) -> bool:
        octets = password.encode("utf-8", "surrogatepass")
        digits = hashlib.sha1(octets, usedforsecurity=False).hexdigest().upper()  # as the lists are kept
        begin, rest = digits[:_PREFIX], digits[_PREFIX:].encode()
        try:
            # Padded answers are all of a size, so that their size does not tell what was asked for.
            async with asyncio.timeout(SECONDS):
                answer = await self._client.get(self._url + begin, largest=LARGEST, headers={"Add-Padding": "true"})
        except (DuckmailError, TimeoutError) as error:
            event(_logger, logging.WARNING, "no list of breached passwords", error=type(error).__name__)
            return False
        if answer.status != 200:
            event(_logger, logging.WARNING, "no list of breached passwords", status=answer.status)
            return False
        return any(_counts(line, rest) for line in answer.body.splitlines())


def _counts(line: bytes, rest: bytes) -> bool:
    """A line is `digits:times`; padding was seen 0 times."""
    digits, _, times = line.strip().partition(b":")
    return digits.upper() == rest and times.strip() != b"0"
