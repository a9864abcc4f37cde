"""The DNS records of a domain: what to publish, and what is missing or wrong, in them and where they lead. Status 1 if
something that is needed is."""

import argparse
import hashlib
import json
import os
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from duckmail.app.outside import open_outside
from duckmail.app.services import Services, open_services
from duckmail.app.wellknown import policy_text, web_host
from duckmail.cli import firststart
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.config.schema import Config
from duckmail.model.address import ascii_domain
from duckmail.model.transport import Tlsa
from duckmail.runtime import loop
from duckmail.services.dnsrecords import Checked, DomainRecords, Offered, Record, State, check
from duckmail.services.domainchecks import Asked, Own, beyond
from protocols.smtp.dane import authenticated

FAILED = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("domain")
    parser.add_argument("--print", action="store_true", help="only print what to publish; nothing is looked up")
    parser.add_argument("--json", action="store_true", help="one JSON object per record")
    parser.add_argument(
        "--nameserver", action="append", default=[], metavar="ADDRESS", help="ask this one, instead of the configured"
    )
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    return loop.run(_main(args, config))


async def _main(args: argparse.Namespace, config: Config) -> int:
    async with (
        databases(config, attach=True) as found,
        open_services(config, found, f"cli:{os.getpid()}") as services,
    ):
        profile = config.profile
        offered = Offered(
            profile.hostname or services.hostname,
            profile.imap_port if config.imap.enabled else 0,
            profile.pop3_port if config.pop3.enabled else 0,
            profile.smtp_port if config.submission.enabled else 0,
            web_host(config, services.hostname) if config.api.enabled and config.client_setup.enabled else "",
            policy_text(config, services.hostname).id if config.mta_sts.mode != "off" else "",
        )
        records = await DomainRecords(services.store.dkim, services.store.addresses, offered).wanted(args.domain)
        if args.print:
            print("\n".join(record.line for record in records if record.line))
            return 0
        checked = await _checked(args, records, _own(config, offered, await _chain(services)), services)
    for one in checked:
        print(json.dumps(described(one)) if args.json else "\n".join(lines(one)))
    if not args.json and not any(one.record.why.startswith("DKIM") for one in checked):
        print("no DKIM key: make one by POST /dkim, then publish its record")
    bad = any(one.record.needed and one.state in (State.MISSING, State.WRONG) for one in checked)
    return FAILED if bad else 0


async def _checked(args: argparse.Namespace, records: Sequence[Record], own: Own, services: Services) -> list[Checked]:
    """Raises: InvalidInput: a name server is none."""
    outbound = services.config.outbound
    if args.nameserver:
        outbound = outbound.model_copy(update={"nameservers": tuple(args.nameserver)})
    async with open_outside(outbound) as outside:
        checked = [await check(record, outside.dns) for record in records]
        # The host of the policy may be this one, wherever that is.
        asked = Asked(outside.dns, outside.named, services.threads, outside.validated)
        return await beyond(ascii_domain(args.domain).lower(), checked, own, asked)


def _own(config: Config, offered: Offered, chain: Sequence[bytes]) -> Own:
    """`chain`: certificates in DER, this server's first."""
    policy = policy_text(config, offered.hostname)
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def presents(records: Sequence[Tlsa]) -> bool:
        return authenticated(chain, [record for record in records if record.usable], [offered.hostname])

    return Own(
        offered.hostname,
        policy if policy.mode != "off" else None,
        sends=not config.outbound.relay.get_secret_value(),
        # RFC 7672 §3.1.1: DANE-EE, of the key, by SHA-256.
        tlsa=str(Tlsa(3, 1, 1, hashlib.sha256(octets).digest())),
        presents=presents,
    )


async def _chain(services: Services) -> list[bytes]:
    """What is presented to who asks for this server's name. Raises: FirstStartError, Unavailable."""
    known = await services.certificates.presented()
    found = next((one.chain for one in reversed(known) if services.hostname.lower() in one.names), b"")
    pem = found or firststart.certificate(services.config, services.hostname)[0].read_bytes()
    return [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem)]


def lines(one: Checked) -> list[str]:
    """For people."""
    record = one.record
    about = f"{record.kind} {record.name}: {record.why}" + ("" if record.needed else " (advised)")
    said = [f"{one.state.value:<8}{about}" + (f"; {one.problem}" if one.problem else "")]
    if one.state is State.WRONG:
        said += [f"          found    {value}" for value in one.found]
    if one.state in (State.MISSING, State.WRONG) and record.line:
        said.append(f"          publish  {record.line}")
    return said


def described(one: Checked) -> dict[str, object]:
    """For programs."""
    record = one.record
    return {
        "kind": record.kind,
        "name": record.name,
        "value": record.value,
        "line": record.line,
        "why": record.why,
        "needed": record.needed,
        "state": one.state.value,
        "found": list(one.found),
        "problem": one.problem,
    }
