"""Reports of others about our domains: read from the mail that brings them, and listed."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial

from duckmail.errors import DuckmailError
from duckmail.mime.reportread import NoReport, read
from duckmail.model.account import Principal
from duckmail.model.mailauth import Authentication
from duckmail.model.receivedreport import ReceivedReport
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_server
from storage.receivedreports import ReportRecords

_logger = logging.getLogger("duckmail.reports")


class ReportReader:
    """`addresses`: to which reports are sent. `threads`: where they are read."""

    def __init__(self, records: ReportRecords, addresses: Iterable[str], threads: Pool) -> None:
        self._records = records
        self._addresses = frozenset(address.lower() for address in addresses)
        self._threads = threads

    async def look(self, recipients: Sequence[str], raw: bytes | bytearray, found: Authentication | None) -> None:
        """Keeps the report in a message to one of the addresses. It does not fail: the message is delivered anyway.

        `found`: who it is from, None where nobody looked.
        """
        if self._addresses.isdisjoint(address.lower() for address in recipients):
            return
        dmarc = found.dmarc if found is not None else None
        if dmarc is not None and dmarc.result == "fail" and dmarc.policy in {"quarantine", "reject"}:
            return
        verified = dmarc.domain if dmarc is not None and dmarc.result == "pass" else ""
        try:
            report = await self._threads.run(partial(read, raw))
            await self._records.add(report, verified)
        except NoReport as error:
            event(_logger, logging.INFO, "mail to an address of reports brings none", reason=str(error))
        except DuckmailError as error:
            event(_logger, logging.WARNING, "a report is in its mail alone", fields=error.fields)
        except Exception:
            # A stranger's message must not be lost by a fault in here.
            event(_logger, logging.ERROR, "a report is in its mail alone", exc_info=True)


class ReceivedReports:
    """For those who run the server."""

    def __init__(self, records: ReportRecords) -> None:
        self._records = records

    async def page(
        self, limit: int, by: Principal, before: str = "", *, kind: str = "", domain: str = ""
    ) -> list[ReceivedReport]:
        """The newest, or those older than `before`; without rows. Raises: NotFound (not an id), NotPermitted,
        Unavailable."""
        require_server(by)
        return await self._records.list(limit, before, kind=kind, domain=domain)

    async def get(self, identifier: str, by: Principal) -> ReceivedReport:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.get(identifier)
