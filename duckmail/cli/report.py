"""Reports of others about our domains: what they say of mail and TLS. Works beside a running server."""

import argparse
import json
import os
from typing import Any

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.model.receivedreport import ReceivedReport
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM
from duckmail.services.receivedreports import ReceivedReports

PAGE = 250


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="print the reports that were received, newest first")
    listed.add_argument("--type", choices=("dmarc", "tls"), default="", help="only those of one kind")
    listed.add_argument("--domain", default="", help="only those about one domain")
    show = actions.add_parser("show", help="print one report with its rows, as JSON")
    show.add_argument("id", help="as `list` prints it")
    listed.add_argument("--json", action="store_true", help="one JSON object per report")
    for action in (listed, show):
        config_arguments(action)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    actions = {"list": _list, "show": _show}

    async def main() -> None:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            await actions[args.action](services.received_reports, args)

    loop.run(main())
    return 0


async def _list(reports: ReceivedReports, args: argparse.Namespace) -> None:
    before, count = "", 0
    while page := await reports.page(PAGE, SYSTEM, before, kind=args.type, domain=args.domain.lower()):
        for each in page:
            print(json.dumps(described(each)) if args.json else line(each), flush=True)
        before, count = page[-1].id, count + len(page)
    if not count and not args.json:
        print("there are no reports")


async def _show(reports: ReceivedReports, args: argparse.Namespace) -> None:
    found = await reports.get(args.id, SYSTEM)
    print(json.dumps({**described(found), "rows": [dict(row) for row in found.report.rows]}, indent=2))


def line(found: ReceivedReport) -> str:
    """One report of a list."""
    report = found.report
    by = f"by {report.organization}" + ("" if found.verified else " (not verified)")
    counts = f"{report.passed} passed, {report.failed} failed"
    return "  ".join((found.id, f"{report.kind:<5}", f"{report.begin:%Y-%m-%d}", report.domain, counts, by))


def described(found: ReceivedReport) -> dict[str, Any]:
    """The report for JSON, without its rows; times in ISO 8601."""
    report = found.report
    return {
        "id": found.id,
        "type": report.kind,
        "domain": report.domain,
        "organization": report.organization,
        "report_id": report.id,
        "begin": report.begin.isoformat(),
        "end": report.end.isoformat(),
        "passed": report.passed,
        "failed": report.failed,
        "verified": found.verified,
        "received": found.received.isoformat(),
    }
