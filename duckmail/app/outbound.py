"""What empties the outbound queue of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.app.services import Services, schedule
from duckmail.clients.poster import HttpPoster
from duckmail.model.transport import Session
from duckmail.runtime.batch import Batched
from duckmail.runtime.tasks import Tasks
from duckmail.services.dkim.signer import Signer
from duckmail.services.queue.attempt import Tools
from duckmail.services.queue.local import LocalCourier
from duckmail.services.queue.remote import Remote
from duckmail.services.queue.routing import Router, parse_relay
from duckmail.services.queue.runner import Runner
from duckmail.services.queue.slots import Pace, Slots
from duckmail.services.recipients import Resolver
from duckmail.services.srs import SenderRewriting
from duckmail.services.transport.results import Results
from duckmail.services.transport.security import Security
from protocols.smtp.client import SmtpCourier
from protocols.smtp.client_settings import SmtpClientSettings


@asynccontextmanager
async def running(services: Services, seconds: float) -> AsyncIterator[Runner]:
    """A runner, which at the end has `seconds` for what it is sending. Raises: InvalidInput."""
    config, store = services.config.outbound, services.store
    results = Results(store.tls_results)
    note = results.note if config.tls_reports else _unnoted
    relay = parse_relay(config.relay.get_secret_value(), config.tls)
    outside = services.outside
    courier = SmtpCourier(
        SmtpClientSettings(
            services.hostname,
            relays=frozenset({relay.host.lower()} if relay else ()),
            connect_timeout=config.connect_timeout,
            outward=outside.outward,
            messages=config.connection_messages,
            idle=config.connection_idle,
            most_idle=config.concurrency,
        ),
        outside.dns,
        outside.contexts,
        note,
    )
    srs = services.srs
    resolver = Resolver(store.addresses, store.settings, (srs.domain,) if srs else ())
    pace = Pace(config.per_host, config.per_domain, config.per_account, config.host_minute)
    slots = Slots(config.concurrency, pace)
    tools = Tools(
        store=store,
        router=Router(
            resolver,
            relay,
            mx=config.mx,
            tls=config.tls,
            passwords=services.target_passwords,
        ),
        local=LocalCourier(services.delivery, services.budget),
        remote=Remote(
            courier,
            HttpPoster(outside.http),
            outside.dns,
            slots,
            security=Security(config.tls, services.sts if config.mta_sts else None, outside.validated, note),
            hostname=services.hostname,
        ),
        slots=slots,
        reports=services.reports,
        schedule=schedule(services.config, store),
        contents=Batched(store.contents.load),
        signer=Signer(
            store.dkim, store.addresses, services.sealer, services.threads, services.hostname, arc=config.arc_domain
        ),
        rewriting=SenderRewriting(srs, resolver),
        users=Batched(store.users.many),
        threads=services.threads,
        budget=services.budget,
        tracing=services.tracing,
    )
    runner = Runner(tools, services.slot, config.concurrency)
    services.queue.woken = runner.wake
    runner.start()
    async with Tasks("tls-results") as tasks:
        tasks.start(results.keep(), "results")
        try:
            yield runner
        finally:
            await runner.drain(seconds)
            courier.close()
            await results.flush()


def _unnoted(session: Session) -> None:
    pass
