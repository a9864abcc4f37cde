"""What a look at the records themselves does not tell: whether the server's addresses lead back to it and may send for
the domain, whether the policy of MTA-STS can be had and says what it should, whether DANE names the right certificate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Protocol

from duckmail.errors import NotFound, Unavailable
from duckmail.model.network import is_public
from duckmail.model.transport import Tlsa
from duckmail.runtime.threads import Pool
from duckmail.services.dnsrecords import Checked, Record, State
from duckmail.services.mailauth import iprev, spf
from duckmail.services.mailauth.lookups import Lookups, Resolver
from duckmail.services.transport import sts
from duckmail.services.transport.ownpolicy import PolicyText
from duckmail.services.transport.policies import PATH, Http, NotFetched, fetch
from duckmail.services.transport.sts import Mode, Policy

SECONDS = 20.0  # for the questions of one check
PORT = 25


class Secured(Protocol):
    """What is needed of `duckmail.clients.validated.Answer`."""

    @property
    def secure(self) -> bool: ...
    @property
    def hosts(self) -> Sequence[str]: ...
    @property
    def tlsa(self) -> Sequence[Tlsa]: ...


class Validated(Protocol):
    """What is needed of `duckmail.clients.validated.ValidatedDns`."""

    async def ask(self, name: str, kind: str, /) -> Secured: ...


@dataclass(frozen=True, slots=True)
class Own:
    """What this server is. `policy`: None for none. `sends`: mail leaves from its own addresses. `tlsa`: the value of
    the TLSA record for its certificate, "" unknown. `presents`: whether its certificate is one that records name."""

    hostname: str
    policy: PolicyText | None = None
    sends: bool = True
    tlsa: str = ""
    presents: Callable[[Sequence[Tlsa]], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked. `validated`: None where no resolver is trusted to validate."""

    dns: Resolver
    http: Http
    threads: Pool
    validated: Validated | None = None


async def beyond(domain: str, checked: Sequence[Checked], own: Own, asked: Asked) -> list[Checked]:
    """`checked`, with more found out, and what else there is to tell. `domain`: as DNS has it."""
    host = next((one for one in checked if one.record.kind == "A" and one.record.name == own.hostname), None)
    addresses = host.found if host is not None else ()
    found = [
        await _sending(domain, one, addresses, own, asked) if one.record.why.startswith("SPF") else one
        for one in checked
    ]
    # Who is behind an address of a private network has another one, which is not known here.
    found += [await _reverse(address, own, asked) for address in addresses if is_public(address)]
    announced = any(one.record.why == "MTA-STS" and one.state is State.OK for one in checked)
    if announced:
        found.append(await _policy(domain, own, asked))
    if asked.validated is not None:
        found += await _dane(domain, own, asked.validated)
    return found


async def _sending(domain: str, one: Checked, addresses: Sequence[str], own: Own, asked: Asked) -> Checked:
    """Whether SPF lets the server send."""
    if one.state is not State.OK or not own.sends:
        return one
    lookups = Lookups(asked.dns, SECONDS)
    for address in addresses:
        result = (await spf.check(lookups, asked.threads, address, own.hostname, f"postmaster@{domain}")).result
        if result == "temperror":
            return replace(one, state=State.UNKNOWN, problem="DNS does not answer for all that it names")
        if result != "pass":
            return replace(one, state=State.WRONG, problem=f"it does not allow {address}: {result}")
    return one


async def _reverse(address: str, own: Own, asked: Asked) -> Checked:
    """RFC 8601 §3: whether the name of the address leads back to it."""
    record = Record("PTR", ip_address(address).reverse_pointer, own.hostname, f"reverse DNS of {address}")
    found = await iprev.check(Lookups(asked.dns, SECONDS), address)
    if found.result == "pass":
        return Checked(record, State.OK, (found.name,))
    if found.result == "temperror":
        return Checked(record, State.UNKNOWN, problem="DNS does not answer")
    if found.result == "permerror":
        return Checked(record, State.MISSING)
    try:
        names = tuple(await asked.dns.answers(record.name, "PTR"))
    except (NotFound, Unavailable):
        names = ()
    return Checked(record, State.WRONG, names, f"its name does not lead back to {address}")


async def _policy(domain: str, own: Own, asked: Asked) -> Checked:
    """RFC 8461 §3.3: what others find."""
    host = f"mta-sts.{domain}"
    record = Record("URL", host, f"https://{host}{PATH}", "the policy of MTA-STS", needed=False)
    try:
        policy, _ = await fetch(asked.http, domain)
    except NotFetched as error:
        # Who had it before keeps to what it said then (§5.1), so that this does not stop mail yet.
        return Checked(record, State.WRONG, problem=f"it is announced, but cannot be fetched: {error}")
    if policy.mode is not Mode.NONE and not policy.allows(own.hostname):
        needed = policy.mode is Mode.ENFORCE
        problem = f"it does not allow {own.hostname}"
        return Checked(replace(record, needed=needed), State.WRONG, policy.strings, problem)
    differs = _difference(policy, own.policy) if own.policy is not None else ""
    return Checked(record, State.WRONG if differs else State.OK, policy.strings, differs)


def _difference(found: Policy, own: PolicyText) -> str:
    """To what this server has."""
    ours = sts.parse(own.body.encode())
    pairs = (
        ("mode", found.mode.value, ours.mode.value),
        ("mx", " ".join(sorted(found.mx)), " ".join(sorted(ours.mx))),
        ("max_age", found.max_age, ours.max_age),
    )
    return "; ".join(f"{name} is {theirs}, here it is {mine}" for name, theirs, mine in pairs if theirs != mine)


async def _dane(domain: str, own: Own, validated: Validated) -> list[Checked]:
    """RFC 7672 §2.2: counts only where MX and the host's addresses are vouched for; else there is nothing to tell."""
    name = f"_{PORT}._tcp.{own.hostname}"
    record = Record("TLSA", name, own.tlsa, "DANE", needed=False)
    try:
        exchangers = await validated.ask(domain, "MX")
        addresses = [await validated.ask(own.hostname, kind) for kind in ("A", "AAAA")]
        if not exchangers.secure or not any(each.secure and each.hosts for each in addresses):
            return []
        found = await validated.ask(name, "TLSA")
    except NotFound:
        return []
    except Unavailable:
        # RFC 7672 §2.1.2: an answer that fails stops the mail of those who use DANE.
        return [Checked(replace(record, needed=True), State.UNKNOWN, problem="DNS does not answer")]
    records = found.tlsa if found.secure else ()
    texts = tuple(map(str, records))
    if not records:
        return [Checked(record, State.MISSING)]
    if any(own.presents([each]) for each in records):
        return [Checked(record, State.OK, texts)]
    return [Checked(replace(record, needed=True), State.WRONG, texts, "none of them is for this server's certificate")]
