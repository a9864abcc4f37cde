"""What rspamd says of a message: `/checkv2` of its HTTP protocol.

The server is one that the administrator has named, so it may be anywhere. What it answers is bounded in size and time;
without an answer that can be read there is no word of it.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from multidict import CIMultiDict

from duckmail.clients.http import Http, Octets
from duckmail.errors import Unavailable
from duckmail.model.envelope import Envelope
from duckmail.model.network import is_address
from duckmail.model.spam import Judgement

LARGEST = 256 * 1024  # octets of an answer: it names every rule that matched
MOST_RECIPIENTS = 100  # that are told: each is a header field
MOST_POINTS = 1e6
PIECE = 64 * 1024  # octets


class Rspamd:
    """`url`: where it is, without a path. `seconds`: for one message. `hostname`: of this server."""

    def __init__(self, http: Http, url: str, seconds: float, hostname: str) -> None:
        self._http = http
        self._url = url.rstrip("/") + "/checkv2"
        self._seconds = seconds
        self._hostname = hostname

    async def judge(self, envelope: Envelope, recipients: Sequence[str], raw: bytes | bytearray) -> Judgement:
        """Raises: Unavailable: no word of it."""
        headers = _headers(envelope, recipients, self._hostname)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._http.post(self._url, _pieces(raw), len(raw), headers, largest=LARGEST)
        except TimeoutError:
            raise Unavailable("No answer in time") from None
        if answer.status != 200:
            raise Unavailable("No verdict", status=answer.status)
        return _judgement(answer.body)


def _headers(envelope: Envelope, recipients: Sequence[str], hostname: str) -> CIMultiDict[str]:
    address = envelope.host if envelope.direct else envelope.client_address if envelope.trusted else ""
    helo = envelope.helo if envelope.direct else envelope.client_helo if envelope.trusted else ""
    found = CIMultiDict({"MTA-Name": hostname, "Queue-Id": envelope.connection, "From": _field(envelope.sender)})
    for recipient in recipients[:MOST_RECIPIENTS]:
        found.add("Rcpt", _field(recipient))
    if is_address(address):
        found["IP"] = address
    if helo:
        found["Helo"] = _field(helo)
    return found


def _field(text: str) -> str:
    """No text of a client can end the field."""
    return quote(text, safe="".join(map(chr, range(0x20, 0x7F))))


def _pieces(raw: bytes | bytearray) -> Octets:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), PIECE):
            yield bytes(raw[start : start + PIECE])

    return pieces


def _judgement(body: bytes) -> Judgement:
    """Raises: Unavailable."""
    try:
        found = json.loads(body)
        action, points = found["action"], float(found.get("score", 0.0))
        if not isinstance(action, str) or not math.isfinite(points):
            raise Unavailable("No verdict")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unavailable("No verdict") from None
    return Judgement(action.lower(), max(-MOST_POINTS, min(points, MOST_POINTS)))
