"""Posts messages to targets of HTTP: the message as it is, its envelope in the headers.

    POST <the target's path>
    Content-Type: message/rfc822
    X-Envelope-From: writer@away.example      (empty: the null sender)
    X-Envelope-To: team@example.com           (several: with commas)
    X-Queue-Id: 65f0...                       (the same again when it is posted again)

2xx: it has the message. 408, 425, 429 and 5xx, no answer, a redirect that would lose the message: later again. All
else: never.
"""

from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote, urlsplit

from duckmail.clients.http import Http, NoAnswer
from duckmail.errors import Unavailable
from duckmail.model.queue import Letter, Outcome, QueueRecipient

_LATER = frozenset({408, 425, 429})
_NOT_ESCAPED = "!#$&'*+-./=?@^_`{|}~\"()<>[]:; \\"  # as addresses have them; a comma divides addresses


class HttpPoster:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def post(self, url: str, letter: Letter, recipients: Sequence[QueueRecipient]) -> list[Outcome]:
        """One attempt; one outcome per recipient, in order."""
        found = await self._post(url, letter, recipients)
        return [Outcome(recipient.address, *found) for recipient in recipients]

    async def _post(
        self, url: str, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> tuple[int, str, str, str, bool]:
        """Code, status, text, host, ambiguous."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if letter.envelope.requiretls and parts.scheme != "https":
            # RFC 8689 §4.2.1: not without a server that has proved its name.
            return 550, "5.7.30", "The target does not support REQUIRETLS", "", False

        async def octets() -> AsyncIterator[bytes]:
            if letter.prefix:
                yield letter.prefix
            async for piece in letter.content.read():
                yield piece

        headers = {
            "Content-Type": "message/rfc822",
            "X-Envelope-From": _escaped(letter.envelope.sender),
            "X-Envelope-To": ", ".join(_escaped(recipient.address) for recipient in recipients),
            "X-Queue-Id": letter.id,
        }
        try:
            status = (await self._http.post(url, octets, letter.size, headers)).status
        except NoAnswer as error:
            return 0, "4.4.2", error.text, "", True
        except Unavailable as error:
            return 0, "4.4.1", error.text, "", False
        if 200 <= status < 300:
            return 250, "2.0.0", f"HTTP {status}", host, False
        if status >= 500 or status in _LATER or 300 <= status < 400:
            return 451, "4.3.0", f"HTTP {status}", host, False
        return 550, "5.3.0", f"HTTP {status}", host, False


def _escaped(address: str) -> str:
    """In ASCII: the octets of UTF-8 by percent, as in a URL."""
    return quote(address, safe=_NOT_ESCAPED)
