"""The policy of MTA-STS that this server has for the domains with mail here."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

LABEL = "mta-sts."


class Domains(Protocol):
    """What is needed of `duckmail.services.recipients.Resolver`."""

    async def is_local(self, domain: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class PolicyText:
    """`mode`: of RFC 8461 §5, or `off`: there is none. `max_age`: seconds."""

    mode: str
    mx: tuple[str, ...]
    max_age: int

    @property
    def body(self) -> str:
        # RFC 8461 §3.2: lines of `key: value`, with CRLF or LF.
        hosts = [f"mx: {host.lower()}" for host in self.mx]
        return "\r\n".join(["version: STSv1", f"mode: {self.mode}", *hosts, f"max_age: {self.max_age}", ""])

    @property
    def id(self) -> str:
        """Another one for another policy (RFC 8461 §3.1)."""
        return hashlib.sha256(self.body.encode()).hexdigest()[:20]


class OwnPolicy:
    def __init__(self, policy: PolicyText, domains: Domains) -> None:
        self._policy = policy
        self._domains = domains

    async def of_host(self, host: str) -> str | None:
        """What `https://HOST/.well-known/mta-sts.txt` is, None for no such thing. Raises: Unavailable."""
        name = host.partition(":")[0].lower().removesuffix(".")
        # RFC 8461 §3.2: the policy host is the domain with the label `mta-sts` before it.
        if self._policy.mode == "off" or not name.startswith(LABEL):
            return None
        return self._policy.body if await self._domains.is_local(name.removeprefix(LABEL)) else None
