"""Reports of others about our domains: DMARC aggregate and TLS."""

from api.answer import Json, iso
from api.errors import Rows
from api.paging import forwards, position
from api.permissions import Permission, Reach
from api.route import Call, Route, route
from api.schemas.reports import ListReports, OneReport
from duckmail.errors import NotFound
from duckmail.model.receivedreport import ReceivedReport


async def list_reports(call: Call, request: ListReports) -> Json:
    at = position(request)
    found = await call.services.reports.page(
        request.limit + 1, call.by, at.after, kind=request.type, domain=request.domain.lower()
    )
    return forwards(request.limit, at, found, _row)


async def read(call: Call, request: OneReport) -> Json:
    found = await call.services.reports.get(request.report, call.by)
    return {"success": True, **_row(found), "rows": [dict(row) for row in found.report.rows]}


def _row(found: ReceivedReport) -> Json:
    report = found.report
    return {
        "id": found.id,
        "type": report.kind,
        "domain": report.domain,
        "organization": report.organization,
        "reportId": report.id,
        "begin": iso(report.begin),
        "end": iso(report.end),
        "passed": report.passed,
        "failed": report.failed,
        "verified": found.verified or False,
        "received": iso(found.received),
    }


_READ = Permission("reports", "read", Reach.ANY)
_NOT_FOUND: Rows = {NotFound: (404, "ReportNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/duckmail/reports", ListReports, list_reports, _READ),
    route("GET", "/duckmail/reports/{report}", OneReport, read, _READ, errors=_NOT_FOUND),
)
