"""The listeners of one process, from their start to their drain."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from aiohttp import web

from api.app import make_app, make_runner
from api.door import Door
from api.metrics import MetricsServer, start_metrics
from api.services import ApiServices, ApiSettings
from duckmail import __version__
from duckmail.app.background import telling, working
from duckmail.app.certificates import Presenter
from duckmail.app.edges import mail_edges
from duckmail.app.listeners import API, API_TLS, METRICS, Opened, close_listeners
from duckmail.app.outbound import running
from duckmail.app.services import Services
from duckmail.app.wellknown import well_known
from duckmail.runtime.figures import Figures, Sources
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from duckmail.services.profile import Profiles, ProfileSettings
from duckmail.services.queue.byhand import QueueByHand
from duckmail.services.transfer import Transfer
from duckmail.services.usage import Usages
from protocols.net.limits import Limits
from protocols.net.listener import Listeners
from protocols.net.peer import Networks, Peer
from protocols.net.tls import CertificateFiles, TlsContexts

log = logging.getLogger("duckmail")


def catch_signals(reload: Callable[[], None]) -> asyncio.Event:
    """From now on SIGTERM and SIGINT set the event, and SIGHUP calls `reload`."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopped


def api_services(services: Services, certificate: tuple[Path, Path]) -> ApiServices:
    """What the API works with. `certificate`: PEM files of certificate and key, which sign profiles."""
    profile = services.config.profile
    settings = ProfileSettings(
        profile.hostname or services.hostname,
        profile.organization,
        profile.imap_port,
        profile.pop3_port,
        profile.smtp_port,
    )
    return ApiServices(
        acme=services.acme,
        address_register=services.address_register,
        addresses=services.addresses,
        asps=services.asps,
        audits=services.audits,
        auth=services.auth,
        authlog=services.authlog,
        autoreplies=services.autoreplies,
        budget=services.budget,
        certificates=services.certificates,
        dkim=services.dkim,
        domain_access=services.domain_access,
        domain_aliases=services.domain_aliases,
        files=services.files,
        filters=services.filters,
        health=services.store.health,
        mailboxes=services.mailboxes,
        messages=services.messages,
        mfa=services.mfa,
        profiles=Profiles(settings, certificate, services.threads),
        quotas=services.quotas,
        queue=QueueByHand(services.queue),
        reports=services.received_reports,
        settings=services.settings,
        tasks=services.task_list,
        threads=services.threads,
        tokens=services.tokens,
        tracing=services.tracing,
        updates=services.updates,
        transfer=Transfer(services.store),
        usages=Usages(
            services.store.counters, services.store.filters, services.store.traffic, services.sessions.connections
        ),
        users=services.users,
        webauthn=services.webauthn,
        webhooks=services.webhooks,
    )


def _ports(opened: Sequence[Opened]) -> Iterator[int]:
    """Of TCP."""
    for each in (each for one in opened for each in one.sockets):
        name = each.sock.getsockname()
        if isinstance(name, tuple):
            yield name[1]


class Server:
    """The listeners of one process over its services: `start`, and `drain` at the end."""

    def __init__(self, services: Services, certificate: tuple[Path, Path], api_token: str) -> None:
        """`certificate`: PEM files of certificate and key. `api_token`: may do everything; empty for none.

        Raises: TlsError.
        """
        self._services = services
        self._config = services.config
        self._api_token = api_token
        self._certificate = certificate
        self.tls = TlsContexts(CertificateFiles(*certificate))
        limits = self._config.limits
        self._limits = Limits(
            limits.connections,
            limits.per_network,
            limits.per_user,
            Networks(self._config.lmtp.peers),
            everywhere=services.sessions.connections,
        )
        self._listeners = Listeners(self._limits)
        self._api: web.AppRunner | None = None
        self._doors: list[asyncio.Server] = []
        self._entering = Tasks("api door")
        self._opened: Sequence[Opened] = ()
        self._runners = AsyncExitStack()
        self._metrics: MetricsServer | None = None

    async def start(self, opened: Sequence[Opened]) -> None:
        """Accepts on the listeners, and owns them. Raises: InvalidInput, TlsError: the queue cannot be emptied so."""
        self._opened = opened
        config = self._config
        self._services.outside.outward.listening(_ports(opened))
        await self._runners.enter_async_context(working(self._services, config.server.drain_timeout))
        await self._runners.enter_async_context(telling(self._services, config.server.drain_timeout))
        await self._runners.enter_async_context(running(self._services, config.server.drain_timeout))
        presenter = Presenter(self._services.certificates, self.tls, self._services.threads)
        await presenter.refresh()
        self._services.certificates.changed = presenter.wake
        self._services.tasks.start(presenter.keep(), "certificates")
        edges = mail_edges(self._services, self._limits, self.tls)
        for one in opened:
            for each in one.sockets:
                if one.label in edges:
                    self._listeners.serve(edges[one.label], each)
        await self._start_api([one for one in opened if one.label in (API, API_TLS)])
        metrics = [each.sock for one in opened if one.label == METRICS for each in one.sockets]
        if metrics:
            self._metrics = await start_metrics(Figures(self._sources(), __version__), metrics)

    def _sources(self) -> Sources:
        services, store = self._services, self._services.store
        return Sources(
            listeners=self._listeners,
            committer=store.committer,
            views=store.views,
            budget=services.budget,
            pools=[services.threads, services.hashing],
            health=store.health.check,
            queue=store.queue.census,
        )

    async def _start_api(self, opened: Sequence[Opened]) -> None:
        config, services = self._config.api, self._services
        if not opened:
            return
        app = make_app(
            api_services(services, self._certificate),
            ApiSettings(config.access_control, self._api_token, config.cors_origins),
            well_known(services),
        )
        self._api = make_runner(app)
        await self._api.setup()
        inside = self._api.server
        if inside is None:
            raise AssertionError("the API's runner is not set up")

        def door() -> Door:
            return Door(inside, self._admit, self._entering)

        loop = asyncio.get_running_loop()
        for one in opened:
            context = self.tls.switching() if one.label == API_TLS else None
            for each in one.sockets:
                self._doors.append(await loop.create_server(door, sock=each.sock, ssl=context))

    async def _admit(self, address: object) -> ExitStack:
        """A place for a connection of the API among all others. `address`: as the socket names its peer."""
        peer = Peer.of(address[0], address[1]) if isinstance(address, tuple) else Peer("", 0, unix=True)
        with ExitStack() as place:
            place.enter_context(self._limits.connection())
            place.enter_context(await self._limits.network(peer))
            return place.pop_all()

    async def drain(self) -> None:
        """Stops accepting, says goodbye, lets what is being committed end."""
        event(log, logging.INFO, "stopping", pid=os.getpid())
        if self._metrics is not None:
            self._metrics.stopping()
        for door in self._doors:
            door.close()
        await self._entering.aclose()
        async with asyncio.TaskGroup() as tasks:  # beside each other: one may take as long as the other
            if self._api is not None:
                tasks.create_task(self._api.cleanup())
            tasks.create_task(self._listeners.drain(self._config.server.drain_timeout))
            tasks.create_task(self._runners.aclose())
        if self._metrics is not None:
            await self._metrics.aclose()
        close_listeners(self._opened)  # aiohttp leaves the paths of unix sockets
