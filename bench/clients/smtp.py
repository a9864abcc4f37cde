"""A lean submission client: as the LMTP client, with a login, and one answer for all recipients."""

import base64
from typing import ClassVar

from bench.clients.lmtp import LmtpClient


class SmtpClient(LmtpClient):
    """`await connect(...)`, `login`, then `deliver` as often as wanted."""

    hello: ClassVar[bytes] = b"EHLO"

    async def login(self, name: str, password: str) -> None:
        """A server that offers no AUTH takes everything from loopback."""
        if b"AUTH" in self.offers:
            plain = base64.b64encode(f"\0{name}\0{password}".encode())
            await self.command(b"AUTH PLAIN " + plain + b"\r\n", b"235")

    def _verdicts(self, recipients: int) -> int:
        return 1
