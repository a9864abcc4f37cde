"""The DNS records of a domain: what to publish, and what is missing or wrong. Status 1 if something needed is."""

import argparse
import json
import os
from collections.abc import Sequence

from duckmail.app.services import open_services
from duckmail.app.wellknown import policy_text, web_host
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.clients.dns import Dns
from duckmail.config.schema import Config
from duckmail.errors import InvalidInput
from duckmail.runtime import loop
from duckmail.services.dnsrecords import Checked, DomainRecords, Offered, Record, State, check

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
    checked = await _checked(records, args.nameserver or config.outbound.nameservers)
    for one in checked:
        print(json.dumps(described(one)) if args.json else "\n".join(lines(one)))
    if not args.json and not any(one.record.why.startswith("DKIM") for one in checked):
        print("no DKIM key: make one by POST /dkim, then publish its record")
    bad = any(one.record.needed and one.state in (State.MISSING, State.WRONG) for one in checked)
    return FAILED if bad else 0


async def _checked(records: Sequence[Record], nameservers: Sequence[str]) -> list[Checked]:
    try:
        dns = Dns(nameservers)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    try:
        return [await check(record, dns) for record in records]
    finally:
        await dns.close()


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
