"""What looks at incoming mail, and what the MX listener takes of it."""

from collections.abc import Callable

from duckmail.app.outside import Outside
from duckmail.clients.rspamd import Rspamd
from duckmail.config.schema import Config
from duckmail.model.dmarcreport import Evaluated
from duckmail.runtime.threads import Pool
from duckmail.services.delivery import Delivery
from duckmail.services.inspection import Inspection
from duckmail.services.mailauth.verifier import Policy as MailauthPolicy
from duckmail.services.mailauth.verifier import Verifier
from duckmail.services.queue.queue import Queue
from duckmail.services.receivedreports import ReportReader
from duckmail.services.reception.blocklists import Blocklists, Zone
from duckmail.services.reception.gate import Gate, GatePolicy
from duckmail.services.reception.greylist import Greylist
from duckmail.services.reception.notices import Notices
from duckmail.services.reception.reception import POSTMASTER, Parts, Policy, Reception
from duckmail.services.recipients import Resolver
from duckmail.services.tracing import Tracing
from storage.receivedreports import ReportRecords
from storage.store import Store


def make_inspection(
    config: Config,
    outside: Outside,
    threads: Pool,
    hostname: str,
    *,
    note: Callable[[Evaluated], None],
    reports: ReportRecords,
) -> Inspection | None:
    """None where nobody looks. `note`: counts what came of DMARC. `reports`: where those of others are kept."""
    relayed = config.mailauth.enabled
    verifier = _verifier(config, outside, threads, hostname) if relayed or config.mx.listen else None
    url, seconds = config.mx.rspamd_url, config.mx.rspamd_timeout
    spam = Rspamd(outside.named, url, seconds, hostname) if url else None
    addresses = config.mailauth.report_addresses
    reader = ReportReader(reports, addresses, threads) if addresses else None
    if verifier is None and spam is None and reader is None:
        return None
    return Inspection(
        verifier,
        relayed=relayed,
        spam=spam,
        note=note if config.mailauth.dmarc_reports else None,
        direct=config.mx.dmarc,
        reader=reader,
    )


def _verifier(config: Config, outside: Outside, threads: Pool, hostname: str) -> Verifier:
    settings = config.mailauth
    policy = MailauthPolicy(settings.server or hostname, settings.timeout, settings.junk, sealers(config))
    return Verifier(outside.dns, threads, policy)


def sealers(config: Config) -> frozenset[str]:
    return frozenset(domain.lower() for domain in config.mailauth.arc_sealers)


def make_reception(
    *,
    config: Config,
    store: Store,
    outside: Outside,
    threads: Pool,
    hostname: str,
    delivery: Delivery,
    inspection: Inspection | None,
    queue: Queue,
    tracing: Tracing,
) -> Reception:
    settings = config.mx
    parts = Parts(
        delivery=delivery,
        resolver=Resolver(store.addresses, store.settings, filter(None, (config.outbound.srs_domain,))),
        inspection=inspection or Inspection(None),
        gate=Gate(
            store.counters,
            outside.dns,
            GatePolicy(settings.address_rate, settings.network_rate, settings.helo, hostname),
        ),
        greylist=Greylist(store.counters, settings.greylist, settings.greylist_keep),
        blocklists=Blocklists(outside.dns, map(Zone.parse, settings.blocklists)),
        notices=Notices(queue, store.contents, hostname),
        threads=threads,
        tracing=tracing,
    )
    return Reception(
        parts,
        Policy(
            hostname,
            config.mailauth.server or hostname,
            config.lmtp.postmaster or f"{POSTMASTER}@{hostname}",
            settings.dmarc,
            sealers(config),
        ),
    )
