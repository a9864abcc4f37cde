"""What looks at incoming mail, who gets it, and what the MX listener takes of it."""

from duckmail.app.ground import Ground
from duckmail.clients.rspamd import Rspamd
from duckmail.config.schema import Config
from duckmail.services.addressregister import AddressRegister
from duckmail.services.arrivals import Arrivals
from duckmail.services.delivery import Delivery
from duckmail.services.inspection import Inspection
from duckmail.services.mailauth.verifier import Policy as MailauthPolicy
from duckmail.services.mailauth.verifier import Verifier
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.queue import Queue
from duckmail.services.receivedreports import ReportReader
from duckmail.services.reception.blocklists import Blocklists, Zone
from duckmail.services.reception.gate import Gate, GatePolicy
from duckmail.services.reception.greylist import Greylist
from duckmail.services.reception.notices import Notices
from duckmail.services.reception.reception import POSTMASTER, Parts, Policy, Reception
from duckmail.services.recipients import Resolver
from duckmail.services.sorting import Sorting
from duckmail.services.srs import KEYS as SRS_KEYS
from duckmail.services.srs import Srs
from duckmail.services.tracing import Tracing


def make_inspection(ground: Ground) -> Inspection | None:
    """None where nobody looks."""
    config = ground.config
    relayed = config.mailauth.enabled
    verifier = _verifier(ground) if relayed or config.mx.listen else None
    url, seconds = config.mx.rspamd_url, config.mx.rspamd_timeout
    spam = Rspamd(ground.outside.named, url, seconds, ground.hostname) if url else None
    addresses = config.mailauth.report_addresses
    reader = ReportReader(ground.store.report_records, addresses, ground.threads) if addresses else None
    if verifier is None and spam is None and reader is None:
        return None
    return Inspection(
        verifier,
        relayed=relayed,
        spam=spam,
        note=ground.dmarc.note if config.mailauth.dmarc_reports else None,
        direct=config.mx.dmarc,
        reader=reader,
    )


def _verifier(ground: Ground) -> Verifier:
    settings = ground.config.mailauth
    policy = MailauthPolicy(
        settings.server or ground.hostname, settings.timeout, settings.junk, _sealers(ground.config)
    )
    return Verifier(ground.outside.dns, ground.threads, policy)


def _sealers(config: Config) -> frozenset[str]:
    return frozenset(domain.lower() for domain in config.mailauth.arc_sealers)


def make_reception(
    ground: Ground, delivery: Delivery, inspection: Inspection | None, queue: Queue, tracing: Tracing
) -> Reception:
    config, store, outside, hostname = ground.config, ground.store, ground.outside, ground.hostname
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
        threads=ground.threads,
        tracing=tracing,
    )
    return Reception(
        parts,
        Policy(
            hostname,
            config.mailauth.server or hostname,
            config.lmtp.postmaster or f"{POSTMASTER}@{hostname}",
            settings.dmarc,
            _sealers(config),
        ),
    )


def make_delivery(
    ground: Ground, queue: Queue, register: AddressRegister, inspection: Inspection | None, tracing: Tracing
) -> Delivery:
    store, limits, threads = ground.store, ground.config.limits, ground.threads
    return Delivery(
        store,
        threads,
        limits.quota,
        received=limits.received,
        sorter=Sorting(store, queue, Forwarding(ground.hostname), threads, ground.hostname),
        arrivals=Arrivals(store.counters),
        register=register,
        settings=store.settings,
        srs=make_srs(ground),
        inspection=inspection,
        tracing=tracing,
    )


def make_srs(ground: Ground) -> Srs | None:
    domain = ground.config.outbound.srs_domain
    return Srs(domain, lambda: ground.sealer.derived(SRS_KEYS)) if domain else None
