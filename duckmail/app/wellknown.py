"""What clients and other servers find of this server at well-known places."""

from api.clientsetup import Found
from duckmail.app.services import Services
from duckmail.config.schema import Config
from duckmail.services.clientsetup import Service, Setup
from duckmail.services.recipients import Resolver
from duckmail.services.transport.ownpolicy import OwnPolicy, PolicyText


def well_known(services: Services) -> Found:
    config, store = services.config, services.store
    srs = services.srs
    resolver = Resolver(store.addresses, store.settings, (srs.domain,) if srs else ())
    setup = client_setup(config, services.hostname) if config.client_setup.enabled else None
    return Found(setup, OwnPolicy(policy_text(config, services.hostname), resolver))


def web_host(config: Config, hostname: str) -> str:
    """The host of https URLs."""
    return config.client_setup.hostname or config.profile.hostname or hostname


def policy_text(config: Config, hostname: str) -> PolicyText:
    settings = config.mta_sts
    return PolicyText(settings.mode, settings.mx or (config.profile.hostname or hostname,), int(settings.max_age))


def client_setup(config: Config, hostname: str) -> Setup:
    profile = config.profile
    host = profile.hostname or hostname
    offered = (
        (config.imap.enabled, Service("imap", profile.imap_port)),
        (config.pop3.enabled, Service("pop3", profile.pop3_port)),
        (config.submission.enabled, Service("smtp", profile.smtp_port)),
    )
    services = tuple(service for enabled, service in offered if enabled)
    return Setup(host, web_host(config, hostname), config.client_setup.name or host, services)
