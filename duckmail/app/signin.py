"""Who may sign in, and how."""

from duckmail.app.ground import Ground
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.auth import Auth, Throttle
from duckmail.services.authlog import AuthLog
from duckmail.services.breaches import Breaches
from duckmail.services.passwords import Passwords
from duckmail.services.pgp import Pgp
from duckmail.services.scram import Scram
from duckmail.services.users import Users
from duckmail.services.webauthn import RelyingParty


def make_scram(ground: Ground) -> Scram | None:
    settings = ground.config.auth
    if not settings.scram:
        return None
    return Scram(ground.sealer, ground.salts, ground.hashing, ground.domain, settings.scram_iterations)


def make_users(
    ground: Ground, passwords: Passwords, authlog: AuthLog, targets: TargetPasswords, scram: Scram | None
) -> Users:
    config, store = ground.config, ground.store
    breaches = Breaches(ground.outside.http, config.auth.breach_url)
    return Users(
        store.users,
        store.addresses,
        passwords,
        ground.domain,
        config.limits.quota,
        authlog=authlog,
        targets=targets,
        breaches=breaches,
        pgp=Pgp(ground.threads),
        scram=scram,
    )


def make_auth(ground: Ground, users: Users, asps: ApplicationPasswords, passwords: Passwords, authlog: AuthLog) -> Auth:
    store, settings = ground.store, ground.config.auth
    return Auth(
        users,
        store.users,
        passwords,
        store.counters,
        asps=asps,
        authlog=authlog,
        tasks=ground.tasks,
        account=Throttle(settings.account_failures, int(settings.account_window)),
        network=Throttle(settings.network_failures, int(settings.network_window)),
    )


def relying_party(ground: Ground) -> RelyingParty:
    settings = ground.config.webauthn
    identifier = settings.id or ground.hostname
    return RelyingParty(identifier, settings.name or identifier)
