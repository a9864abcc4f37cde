"""The rule for each host that mail of a domain may go to: DANE, MTA-STS, or what `outbound.tls` says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from duckmail.errors import NotFound, Unavailable
from duckmail.model.queue import Destination, Letter, Outcome
from duckmail.model.transport import Applied, Failure, Found, Session, Tlsa
from duckmail.services.transport.policies import Known
from duckmail.services.transport.sts import Mode, Policy

SMTP_PORT = 25


class Answer(Protocol):
    """What is needed of `duckmail.clients.validated.Answer`."""

    @property
    def secure(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def tlsa(self) -> tuple[Tlsa, ...]: ...


class Validated(Protocol):
    """Answers of a resolver that validates."""

    async def ask(self, name: str, kind: str, /) -> Answer:
        """Raises: Unavailable, NotFound: it is no name."""
        ...


class Policies(Protocol):
    """What is needed of `duckmail.services.transport.policies.Policies`."""

    async def of(self, domain: str, /) -> Known: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a domain. `secure`: its exchangers are vouched for. `waived`: for this message nothing does."""

    domain: str
    secure: bool = False
    policy: Policy | None = None
    waived: bool = False
    requiretls: bool = False


class Security:
    """`tls`: as `outbound.tls`. `policies`, `validated`: None where they are not asked. `note`: hears what came of it.

    `port`: of mail exchangers.
    """

    def __init__(
        self,
        tls: str,
        policies: Policies | None = None,
        validated: Validated | None = None,
        note: Callable[[Session], None] = lambda session: None,
        *,
        port: int = SMTP_PORT,
    ) -> None:
        self._tls = tls
        self._policies = policies
        self._validated = validated
        self._note = note
        self._port = port

    async def rules(self, domain: str, hosts: Sequence[str], letter: Letter) -> Rules:
        """For one message to a domain in its ASCII form. Raises: Unavailable."""
        requiretls = letter.envelope.requiretls
        # RFC 8689 §4.1: `TLS-Required: No` puts the message before what the recipient's domain asks for.
        if self._tls == "never" or (letter.tls_waived and not requiretls):
            return Rules(domain, waived=True, requiretls=requiretls)
        secure = self._validated is not None and await self._is_secure(self._validated, domain, hosts)
        policy = None
        if self._policies is not None:
            known = await self._policies.of(domain)
            policy = known.policy
            if known.failure is not None:
                self._note(Session(self._applied_sts(domain, policy), failure=known.failure))
        return Rules(domain, secure, policy if policy and policy.mode is not Mode.NONE else None, requiretls=requiretls)

    @staticmethod
    async def _is_secure(validated: Validated, domain: str, hosts: Sequence[str]) -> bool:
        answer = await validated.ask(domain, "MX")
        # The same hosts, or the domain itself where there are none.
        return answer.secure and set(hosts) <= set(answer.hosts or (domain,))

    async def destination(self, rules: Rules, host: str) -> Destination | Outcome:
        """How to reach a host; or why it is not used now. Raises: Unavailable."""
        plain = Destination(host, self._port, self._tls)
        if rules.waived:
            return plain
        # RFC 8689 §4.2.1: the way from the domain to the host has to be proved as well.
        proved = rules.secure or (rules.policy is not None and rules.policy.allows(host))
        if rules.requiretls and not proved:
            return Outcome("", 550, "5.7.30", f"Nothing proves that {host} takes the domain's mail", early=True)
        if rules.secure and self._validated is not None:
            by_dane = await self._by_dane(self._validated, rules, plain)
            if by_dane is not None:
                return by_dane
        if rules.policy is not None:
            return self._by_sts(rules, rules.policy, plain)
        return replace(plain, applied=Applied(rules.domain))

    # -- DANE ------------------------------------------------------------------------------------------------------

    async def _by_dane(self, validated: Validated, rules: Rules, plain: Destination) -> Destination | Outcome | None:
        """None where the host has no TLSA records that count."""
        host = plain.host
        try:
            records = await self._tlsa(validated, host)
        except Unavailable:
            # RFC 7672 §2.1.2: an answer that fails may hide the records, so the host is left for now.
            self._note(Session(Applied(rules.domain, Found.TLSA), host, failure=Failure.DNSSEC_INVALID))
            return Outcome("", 0, "4.7.5", f"It is not known whether {host} has TLSA records", early=True)
        if not records:
            return None
        usable = tuple(record for record in records if record.usable)
        applied = Applied(rules.domain, Found.TLSA, tuple(map(str, records)))
        if not usable:
            # RFC 7672 §2.2: encrypted all the same, without knowing by whom.
            return replace(plain, tls="verify" if self._tls == "verify" else "encrypt", applied=applied)
        # RFC 7672 §3.2.2: the names that a certificate under usage 2 may have.
        return replace(plain, tls="dane", tlsa=usable, names=(host, rules.domain), applied=applied)

    async def _tlsa(self, validated: Validated, host: str) -> Sequence[Tlsa]:
        """Raises: Unavailable."""
        try:
            answer = await validated.ask(host, "A")
            if not answer.secure or not answer.hosts:
                other = await validated.ask(host, "AAAA")
                answer = other if other.hosts else answer
            # RFC 7672 §2.2.2: only where the addresses are vouched for; behind aliases first by the last name.
            if not answer.secure:
                return ()
            for name in dict.fromkeys((answer.name, host)):
                found = await validated.ask(f"_{self._port}._tcp.{name}", "TLSA")
                if found.secure and found.tlsa:
                    return found.tlsa
        except NotFound:
            pass
        return ()

    # -- MTA-STS ---------------------------------------------------------------------------------------------------

    def _by_sts(self, rules: Rules, policy: Policy, plain: Destination) -> Destination | Outcome:
        applied = self._applied_sts(rules.domain, policy)
        allowed = policy.allows(plain.host)
        if not allowed:
            self._note(Session(applied, plain.host, failure=Failure.VALIDATION, detail="not allowed by the policy"))
        if policy.mode is Mode.TESTING:
            # RFC 8461 §5: what would fail is told, and the mail goes on.
            return replace(
                plain, tls="verify" if self._tls == "verify" else "try", applied=applied if allowed else None
            )
        if not allowed:
            # RFC 8461 §5.1: the host is not used; the next one is.
            return Outcome("", 0, "4.7.5", f"The domain's policy does not allow {plain.host}", early=True)
        return replace(plain, tls="verify", applied=applied)

    @staticmethod
    def _applied_sts(domain: str, policy: Policy | None) -> Applied:
        if policy is None:
            return Applied(domain, Found.STS)
        return Applied(domain, Found.STS, policy.strings, policy.mx)
