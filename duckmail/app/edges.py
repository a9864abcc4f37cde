"""What each kind of mail listener speaks."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from duckmail import __version__
from duckmail.app.listeners import IMAP, IMAPS, LMTP, MX, POP3, POP3S, SUBMISSION, SUBMISSIONS
from duckmail.app.services import Services
from duckmail.config.schema import Config
from duckmail.services.urlauth import UrlAuth
from protocols.imap import server as imap
from protocols.imap import settings as imap_settings
from protocols.imap.session import ImapServices
from protocols.imap.settings import ImapSettings
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from protocols.mx import server as mx
from protocols.mx.settings import MxSettings
from protocols.net.limits import Limits
from protocols.net.listener import Service
from protocols.net.peer import Networks
from protocols.net.tls import TlsContexts
from protocols.pop3 import server as pop3
from protocols.pop3 import settings as pop3_settings
from protocols.pop3.session import Pop3Services
from protocols.pop3.settings import Pop3Settings
from protocols.sasl.mechanisms import Offer
from protocols.submission import server as submission
from protocols.submission import settings as submission_settings
from protocols.submission.session import SubmissionServices
from protocols.submission.settings import SubmissionSettings
from storage.urlkeys import UrlKeys

LMTP_OVERLOADED = b"421 4.3.2 Too many connections, try again later\r\n"

Edge = Callable[[Services, Limits, TlsContexts], Iterable[tuple[str, Service]]]


def mail_edges(services: Services, limits: Limits, tls: TlsContexts) -> dict[str, Service]:
    """By the label of the listener."""
    return {label: service for edge in _EDGES for label, service in edge(services, limits, tls)}


def _sasl(offer: Offer, config: Config) -> Offer:
    return replace(offer, scram=config.auth.scram, plus=config.auth.scram_plus)


def _imap(services: Services, limits: Limits, tls: TlsContexts) -> Iterable[tuple[str, Service]]:
    config = services.config
    serve = imap.make_serve(
        ImapServices(
            auth=services.auth,
            sessions=services.sessions,
            mail=services.mail,
            user_slot=limits.user,
            budget=services.budget,
            threads=services.threads,
            urls=UrlAuth(UrlKeys(services.store.database), services.store.users, services.sealer, services.mail),
        ),
        ImapSettings(
            version=__version__,
            starttls=config.imap.starttls,
            plaintext_login=config.imap.plaintext_login,
            message_size=config.limits.message_size,
            login_timeout=config.imap.login_timeout,
            idle_timeout=config.imap.idle_timeout,
            sasl=_sasl(imap_settings.SASL, config),
            literal_minus=config.imap.literal_minus,
            message_limit=config.imap.message_limit,
            save_limit=config.imap.save_limit,
        ),
    )
    proxies = Networks(config.proxy.peers)
    yield IMAP, Service("imap", serve, imap.OVERLOADED, tls, proxy_peers=proxies)
    yield IMAPS, Service("imaps", serve, imap.OVERLOADED, tls, implicit_tls=True, proxy_peers=proxies)


def _pop3(services: Services, limits: Limits, tls: TlsContexts) -> Iterable[tuple[str, Service]]:
    config = services.config
    serve = pop3.make_serve(
        Pop3Services(services.auth, services.sessions, services.maildrops, limits.user),
        Pop3Settings(
            version=__version__,
            starttls=config.pop3.starttls,
            plaintext_login=config.pop3.plaintext_login,
            login_timeout=config.pop3.login_timeout,
            idle_timeout=config.pop3.idle_timeout,
            sasl=_sasl(pop3_settings.SASL, config),
        ),
    )
    proxies = Networks(config.proxy.peers)
    yield POP3, Service("pop3", serve, pop3.OVERLOADED, tls, proxy_peers=proxies)
    yield POP3S, Service("pop3s", serve, pop3.OVERLOADED, tls, implicit_tls=True, proxy_peers=proxies)


def _submission(services: Services, limits: Limits, tls: TlsContexts) -> Iterable[tuple[str, Service]]:
    config = services.config
    server = submission.SubmissionServer(
        SubmissionSettings(
            hostname=services.hostname,
            size_limit=config.limits.message_size,
            postmaster=config.lmtp.postmaster,
            max_recipients=config.submission.max_recipients,
            changing=services.store.settings,
            plaintext_login=config.submission.plaintext_login,
            sasl=_sasl(submission_settings.SASL, config),
        ),
        SubmissionServices(services.auth, services.sessions, services.submission, limits.user, services.budget),
    )
    starttls = tls if config.submission.starttls else None
    proxies = Networks(config.proxy.peers)
    refusal = submission.OVERLOADED
    yield SUBMISSION, Service("submission", server.serve, refusal, starttls, proxy_peers=proxies)
    yield SUBMISSIONS, Service("submissions", server.serve, refusal, tls, implicit_tls=True, proxy_peers=proxies)


def _lmtp(services: Services, _: Limits, tls: TlsContexts) -> Iterable[tuple[str, Service]]:
    config = services.config
    server = LmtpServer(
        LmtpSettings(
            hostname=services.hostname,
            size_limit=config.limits.message_size,
            postmaster=config.lmtp.postmaster,
            refuse_bare=config.lmtp.refuse_bare,
            max_recipients=config.lmtp.max_recipients,
            over_quota=552 if config.lmtp.over_quota == "reject" else 452,
            spam_peers=Networks(config.lmtp.spam_peers),
        ),
        services.delivery,
        services.budget,
        Networks(config.lmtp.peers).__contains__,
    )
    starttls = tls if config.lmtp.starttls else None
    yield LMTP, Service("lmtp", server.serve, LMTP_OVERLOADED, starttls, proxy_peers=Networks(config.proxy.peers))


def _mx(services: Services, _: Limits, tls: TlsContexts) -> Iterable[tuple[str, Service]]:
    config = services.config
    server = mx.MxServer(
        MxSettings(
            hostname=services.hostname,
            size_limit=config.limits.message_size,
            max_recipients=config.mx.max_recipients,
            greet_delay=config.mx.greet_delay,
            exempt=Networks(config.mx.exempt),
            connections=config.mx.connections,
        ),
        services.reception,
        services.budget,
        services.sessions.connections,
    )
    starttls = tls if config.mx.starttls else None
    yield MX, Service("mx", server.serve, mx.OVERLOADED, starttls, proxy_peers=Networks(config.proxy.peers))


_EDGES: tuple[Edge, ...] = (_imap, _pop3, _submission, _lmtp, _mx)
