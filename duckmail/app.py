"""The one place that builds the server: storage, services, edges, in that order, and takes them down again.

`open_services` is what the command line works on; `Server` adds the listeners and the signals of a long life.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from api.app import make_app, make_runner
from api.door import Door
from api.services import ApiServices, ApiSettings
from duckmail import __version__
from duckmail.config.schema import Config
from duckmail.model.account import Principal
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from duckmail.services.auth import Auth, Throttle
from duckmail.services.delivery import Delivery
from duckmail.services.mail import Mail
from duckmail.services.passwords import Passwords
from duckmail.services.tokens import Tokens
from duckmail.services.users import Users
from protocols.imap.server import OVERLOADED, make_serve
from protocols.imap.session import ImapServices
from protocols.imap.settings import ImapSettings
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from protocols.net.limits import Limits
from protocols.net.listener import Listeners, Service
from protocols.net.peer import Networks, Peer
from protocols.net.sockets import ListenError, ListeningSocket, listen
from protocols.net.tls import CertificateFiles, TlsContexts
from storage.store import Store

log = logging.getLogger("duckmail")

SCAN_THREADS = 2
HASH_THREADS = 2  # more would take the processor from the loop (libraries.md 3.5: two cores)
# The kinds of listeners, as people are told of them.
IMAP, IMAPS, LMTP, API, API_TLS = "IMAP, STARTTLS", "IMAP, TLS", "LMTP", "API", "API, TLS"
LMTP_OVERLOADED = b"421 4.3.2 Too many connections, try again later\r\n"


@dataclass(frozen=True, slots=True)
class Databases:
    """Where they are. `redis_url`: empty for none."""

    mongo_uri: str
    redis_url: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The listening sockets of one kind of listener (`wanted`)."""

    label: str
    sockets: list[ListeningSocket]


def wanted(config: Config) -> list[tuple[str, Sequence[str]]]:
    """What is to listen where: (label, listeners)."""
    kinds: list[tuple[bool, str, Sequence[str]]] = [
        (config.imap.enabled, IMAP, config.imap.listen),
        (config.imap.enabled, IMAPS, config.imap.listen_tls),
        (config.lmtp.enabled, LMTP, config.lmtp.listen),
        (config.api.enabled, API, config.api.listen),
        (config.api.enabled, API_TLS, config.api.listen_tls),
    ]
    return [(label, specs) for enabled, label, specs in kinds if enabled]


def open_listeners(config: Config) -> list[Opened]:
    """Opens all of them; nobody accepts there yet. Raises: ListenError, with none left open."""
    opened: list[Opened] = []
    try:
        for label, specs in wanted(config):
            opened += [Opened(label, listen(spec)) for spec in specs]
    except ListenError:
        close_listeners(opened)
        raise
    return opened


def close_listeners(opened: Sequence[Opened]) -> None:
    for one in opened:
        for each in one.sockets:
            each.close()


@dataclass(frozen=True, slots=True)
class Services:
    """Everything below the edges."""

    config: Config
    store: Store
    tasks: Tasks
    threads: Pool
    users: Users
    auth: Auth
    tokens: Tokens
    delivery: Delivery
    budget: OctetBudget
    hostname: str

    def mail(self, principal: Principal) -> Mail:
        return Mail(self.store, principal, self.config.limits.quota)


@asynccontextmanager
async def open_services(config: Config, databases: Databases, slot: str) -> AsyncIterator[Services]:
    """Opens the store and builds the services over it. `slot` names this process among those of its host and data.

    Raises: Unavailable.
    """
    hostname = config.server.hostname or socket.getfqdn()
    async with AsyncExitStack() as stack:
        threads, hashing = Pool("scan", SCAN_THREADS), Pool("passwords", HASH_THREADS)
        stack.callback(threads.close)
        stack.callback(hashing.close)
        store = Store(
            databases.mongo_uri,
            config.mongo.database,
            databases.redis_url or None,
            f"{hostname}:{slot}",
            threads,
            redis_prefix=config.redis.prefix,
        )
        await stack.enter_async_context(store)
        tasks = await stack.enter_async_context(Tasks("services"))
        passwords = Passwords(hashing)
        domain = config.server.domain or hostname
        users = Users(store.users, store.addresses, passwords, domain, config.limits.quota)
        auth = Auth(
            users,
            store.users,
            passwords,
            store.counters,
            tasks=tasks,
            account=Throttle(config.auth.account_failures, int(config.auth.account_window)),
            network=Throttle(config.auth.network_failures, int(config.auth.network_window)),
        )
        yield Services(
            config=config,
            store=store,
            tasks=tasks,
            threads=threads,
            users=users,
            auth=auth,
            tokens=Tokens(store.tokens, store.users),
            delivery=Delivery(store, threads, config.limits.quota),
            budget=OctetBudget(config.limits.octet_budget),
            hostname=hostname,
        )


def catch_signals(reload: Callable[[], None]) -> asyncio.Event:
    """From now on SIGTERM and SIGINT set the event, and SIGHUP calls `reload`."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopped


class Server:
    """The listeners of one process over its services: `start`, and `drain` at the end."""

    def __init__(self, services: Services, certificate: tuple[Path, Path], api_token: str) -> None:
        """`certificate`: PEM files of certificate and key. `api_token`: may do everything; empty for none.

        Raises: TlsError.
        """
        self._services = services
        self._config = services.config
        self._api_token = api_token
        self.tls = TlsContexts(CertificateFiles(*certificate))
        limits = self._config.limits
        self._limits = Limits(
            limits.connections, limits.per_network, limits.per_user, Networks(self._config.lmtp.peers)
        )
        self._listeners = Listeners(self._limits)
        self._api: web.AppRunner | None = None
        self._doors: list[asyncio.Server] = []
        self._opened: Sequence[Opened] = ()

    async def start(self, opened: Sequence[Opened]) -> None:
        """Accepts on the listeners, and owns them."""
        self._opened = opened
        services = self._mail_services()
        for one in opened:
            for each in one.sockets:
                if one.label in services:
                    self._listeners.serve(services[one.label], each)
        await self._start_api([one for one in opened if one.label in (API, API_TLS)])

    def _mail_services(self) -> dict[str, Service]:
        config, services = self._config, self._services
        proxies = Networks(config.proxy.peers)
        found: dict[str, Service] = {}
        if config.imap.enabled:
            serve = make_serve(
                ImapServices(services.auth, services.mail, self._limits.user, services.budget, services.threads),
                ImapSettings(
                    version=__version__,
                    starttls=config.imap.starttls,
                    plaintext_login=config.imap.plaintext_login,
                    message_size=config.limits.message_size,
                    login_timeout=config.imap.login_timeout,
                    idle_timeout=config.imap.idle_timeout,
                ),
            )
            found[IMAP] = Service("imap", serve, OVERLOADED, self.tls, proxy_peers=proxies)
            found[IMAPS] = Service("imaps", serve, OVERLOADED, self.tls, implicit_tls=True, proxy_peers=proxies)
        if config.lmtp.enabled:
            lmtp = LmtpServer(
                LmtpSettings(
                    hostname=services.hostname,
                    size_limit=config.limits.message_size,
                    postmaster=config.lmtp.postmaster,
                    refuse_bare=config.lmtp.refuse_bare,
                    max_recipients=config.lmtp.max_recipients,
                ),
                services.delivery,
                services.budget,
                Networks(config.lmtp.peers).__contains__,
            )
            tls = self.tls if config.lmtp.starttls else None
            found[LMTP] = Service("lmtp", lmtp.serve, LMTP_OVERLOADED, tls, proxy_peers=proxies)
        return found

    async def _start_api(self, opened: Sequence[Opened]) -> None:
        config, services = self._config.api, self._services
        if not opened:
            return
        app = make_app(
            ApiServices(services.users, services.auth, services.tokens, services.store.health),
            ApiSettings(config.access_control, self._api_token, config.cors_origins),
        )
        self._api = make_runner(app)
        await self._api.setup()
        inside = self._api.server
        if inside is None:
            raise AssertionError("the API's runner is not set up")

        def door() -> Door:
            return Door(inside, self._admit)

        loop = asyncio.get_running_loop()
        for one in opened:
            context = self.tls.switching() if one.label == API_TLS else None
            for each in one.sockets:
                self._doors.append(await loop.create_server(door, sock=each.sock, ssl=context))

    @contextmanager
    def _admit(self, address: object) -> Iterator[None]:
        """Counts a connection of the API among all others. `address`: as the socket names its peer."""
        peer = Peer.of(address[0], address[1]) if isinstance(address, tuple) else Peer("", 0, unix=True)
        with self._limits.connection(), self._limits.network(peer):
            yield

    async def drain(self) -> None:
        """Stops accepting, says goodbye, lets what is being committed end."""
        event(log, logging.INFO, "stopping", pid=os.getpid())
        for door in self._doors:
            door.close()
        async with asyncio.TaskGroup() as tasks:  # beside each other: one may take as long as the other
            if self._api is not None:
                tasks.create_task(self._api.cleanup())
            tasks.create_task(self._listeners.drain(self._config.server.drain_timeout))
        close_listeners(self._opened)  # aiohttp leaves the paths of unix sockets
