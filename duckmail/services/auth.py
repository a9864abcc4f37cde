"""Signing in, the same for every protocol: who it is, whether the password is right, how often it was tried.

- Failures are counted per account (unknown names too) and per network; over the limit the password is not looked at.
- Whoever gets no further cannot tell why: an unknown, disabled or suspended account costs the time of a wrong
  password and gives the same error. What a scope may not do is told only to who knows the password.
- Attempts for one account run one after the other in a process, so that parallel ones do not slip by the counter.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from duckmail.errors import AccountDisabled, AuthenticationFailed, DuckmailError, NotYetValid, RateLimited, Unavailable
from duckmail.model.account import Principal, User
from duckmail.model.credentials import MAIL_SCOPES, ApplicationPassword, ScramProof, ScramVerifier, Trace
from duckmail.runtime import metrics
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.attempts import (
    MASTER,
    AccountTurns,
    account_key,
    evenly,
    network_key,
    require_asp,
    require_own,
    require_scope,
    unknown,
)
from duckmail.services.authlog import AuthLog
from duckmail.services.passwords import Passwords
from duckmail.services.scram import Scram
from duckmail.services.users import Users
from storage.redis.counters import Counters
from storage.users import Users as Records

T = TypeVar("T")

_logger = logging.getLogger("duckmail.auth")

LOGIN_SECONDS = 30.0
MAX_NAME = 1024  # characters of a login name; longer ones are unknown
SCOPES = MAIL_SCOPES
_PROTOCOLS = {"imap": "IMAP", "pop3": "POP3", "submission": "SMTP"}  # as the authlog has them
_NOWHERE = Trace()
_NOBODY = "0" * 24  # no account's id
_WRONG_SCOPE = "Authentication failed. Invalid scope"
# How an attempt is counted that ended so; what else there is says nothing about the password.
_RESULTS = {AuthenticationFailed: "failed", NotYetValid: "failed", AccountDisabled: "disabled", RateLimited: "limited"}
_SURROGATE = re.compile("[\ud800-\udfff]")  # stands for octets that are no UTF-8; the database takes none


@dataclass(frozen=True, slots=True)
class Throttle:
    """So many failures, within so many seconds from the first, are the last; 0 failures is no limit."""

    failures: int
    window: int


ACCOUNT = Throttle(12, 120)
NETWORK = Throttle(60, 120)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`change_password`: it was a temporary one. `asp`: the application password, if it was one.
    `signature`: what proves to the client in return that its keys are here, if it proved that it knows the password."""

    user: User
    principal: Principal
    change_password: bool = False
    asp: ApplicationPassword | None = None
    signature: bytes = b""

    @property
    def source(self) -> str:
        """What was used, as the authlog says it."""
        return "asp" if self.asp else "temporary" if self.change_password else "master"


class Auth:
    def __init__(
        self,
        users: Users,
        records: Records,
        passwords: Passwords,
        counters: Counters,
        *,
        asps: ApplicationPasswords,
        authlog: AuthLog,
        tasks: Tasks,
        account: Throttle = ACCOUNT,
        network: Throttle = NETWORK,
    ) -> None:
        self._users = users
        self._records = records
        self._passwords = passwords
        self._counters = counters
        self._asps = asps
        self._authlog = authlog
        self._tasks = tasks
        self._scram = asps.scram
        self._account = account
        self._network = network
        self._turns = AccountTurns()

    async def login(
        self, username: str, password: str, scope: str, peer_network: str, protocol: str, *, trace: Trace = _NOWHERE
    ) -> Principal:
        """Signs in for a mail protocol.

        Args:
            scope: `imap`, `pop3`, `smtp`, or `master` for the API.
            peer_network: key of the client's network (`Peer.network`); "" and `unix` are not throttled.
            protocol, trace: for the log.

        Raises:
            AuthenticationFailed: unknown, wrong password, disabled or suspended.
            AccountDisabled: the password is right, but not for this scope.
            RateLimited, Unavailable.
        """
        return (await self.sign_in(username, password, scope, peer_network, protocol, trace=trace)).principal

    async def sign_in(
        self, username: str, password: str, scope: str, peer_network: str, protocol: str, *, trace: Trace = _NOWHERE
    ) -> SignedIn:
        """As `login`, with the account. An error's `fields["user"]` is the account's id where it is known."""

        async def verify(user: User | None) -> SignedIn:
            return await self._verify(user, password, scope)

        attempt = self._sign_in(username, verify, peer_network)
        return await self._told(attempt, scope, peer_network, protocol, trace)

    async def salt(
        self, username: str, scope: str, peer_network: str, protocol: str, *, trace: Trace = _NOWHERE
    ) -> ScramVerifier:
        """What a client is told that wants to prove that it knows the password; it says nothing about the account.

        Raises: RateLimited, Unavailable.
        """

        async def told() -> ScramVerifier:
            async with self._turn(username, peer_network) as user:
                return self._required_scram.told(username, user)

        return await self._refusals(evenly(told()), scope, peer_network, protocol, trace)

    async def sign_in_by_proof(
        self, proof: ScramProof, scope: str, peer_network: str, protocol: str, *, trace: Trace = _NOWHERE
    ) -> SignedIn:
        """As `sign_in`, for a client that proves that it knows the password. Raises: as `login`."""

        async def verify(user: User | None) -> SignedIn:
            return await self._verify_proof(user, proof, scope)

        attempt = evenly(self._sign_in(proof.username, verify, peer_network))
        return await self._told(attempt, scope, peer_network, protocol, trace)

    async def _told(
        self, attempt: Awaitable[SignedIn], scope: str, network: str, protocol: str, trace: Trace
    ) -> SignedIn:
        """An attempt, and the log of how it ended."""
        signed_in = await self._refusals(attempt, scope, network, protocol, trace)
        metrics.login(protocol, "ok")
        event(_logger, logging.INFO, "login", protocol=protocol, scope=scope, user=signed_in.user.id)
        self._tasks.start(self._note(signed_in, scope, protocol, trace), "authlog")
        return signed_in

    async def _refusals(self, attempt: Awaitable[T], scope: str, network: str, protocol: str, trace: Trace) -> T:
        """An attempt, and the log of its failure."""
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                return await attempt
        except TimeoutError as error:
            metrics.login(protocol, "unavailable")
            raise Unavailable(reason="login took too long") from error
        except DuckmailError as error:
            metrics.login(protocol, _RESULTS.get(type(error), "unavailable"))
            user, result = error.fields.get("user", ""), type(error).__name__
            event(
                _logger, logging.INFO, "login refused", protocol=protocol, scope=scope, user=user, result=result,
                network=network,
            )  # fmt: skip
            self._note_refusal(error, scope, protocol, trace)
            raise

    @asynccontextmanager
    async def _turn(self, username: str, network: str) -> AsyncIterator[User | None]:
        """The account of a login name, for an attempt that is not throttled, while no other one is made for it."""
        await self._check(network_key(network), self._network)
        user = await self._find(username)
        key = account_key(user, username)
        async with self._turns.of(key):
            await self._check(key, self._account)
            yield user

    async def _sign_in(
        self, username: str, verify: Callable[[User | None], Awaitable[SignedIn]], network: str
    ) -> SignedIn:
        async with self._turn(username, network) as user:
            key = account_key(user, username)
            try:
                signed_in = await verify(user)
            except NotYetValid:
                raise  # it was right
            except AuthenticationFailed:
                await self._count(key, network)
                raise
        await self._counters.clear(key)
        return signed_in

    async def _note(self, signed_in: SignedIn, scope: str, protocol: str, trace: Trace) -> None:
        """What follows a sign-in, which does not wait for it."""
        user, asp = signed_in.user, signed_in.asp
        about: dict[str, object] = {"source": signed_in.source, "requiredScope": scope, "appId": trace.app or None}
        if asp is not None:
            about |= {"asp": asp.id, "aname": asp.description}
        named = _PROTOCOLS.get(protocol, protocol)
        entry = await self._authlog.record(user.id, "authentication", "success", trace, named, **about)
        if asp is not None:
            await self._asps.used(asp, entry)
        if _stale(user.last_login):
            await self._records.update(user.id, {"last_login": datetime.now(UTC)})

    def _note_refusal(self, error: DuckmailError, scope: str, protocol: str, trace: Trace) -> None:
        user = error.fields.get("user")
        if not isinstance(user, str) or not isinstance(error, AuthenticationFailed | AccountDisabled):
            return
        result = str(error.fields.get("result", "fail")) if isinstance(error, AuthenticationFailed) else ""
        named = _PROTOCOLS.get(protocol, protocol)
        record = self._authlog.record
        entry = record(user, "authentication", result, trace, named, requiredScope=scope, appId=trace.app or None)
        self._tasks.start(_discarded(entry), "authlog")

    async def look_up(self, username: str, scope: str) -> User:
        """The account of a login name that may sign in for `scope`, without a password (trusted callers only).

        Raises:
            AuthenticationFailed, AccountDisabled, Unavailable.
        """
        user = await self._find(username)
        if user is None or not user.active:
            raise AuthenticationFailed(**({"user": user.id} if user else {}))
        require_scope(user, scope)
        return user

    async def confirm(self, user: User, password: str, trace: Trace = _NOWHERE) -> None:
        """Checks the password of somebody who is to have a new one, under the same throttle.

        Raises:
            AuthenticationFailed, RateLimited, Unavailable.
        """

        async def right() -> bool:
            if (await self._passwords.verify(password, user.password_hash)).right:
                return True
            return bool(user.temp_password_hash) and await self._temporary(user, password)

        if not await self.attempt(user, right):
            await self._authlog.record(user.id, "password change", "fail", trace)
            raise AuthenticationFailed(user=user.id)

    async def attempt(self, user: User, verify: Callable[[], Awaitable[bool]]) -> bool:
        """The outcome of `verify`, whose failures count with those of the account's logins.

        Raises: RateLimited: `verify` was not called. Unavailable.
        """
        key = account_key(user, user.username)
        async with self._turns.of(key):
            await self._check(key, self._account)
            if await verify():
                return True
            await self._count(key, "")
        return False

    async def _find(self, username: str) -> User | None:
        if not username.strip() or len(username) > MAX_NAME or _SURROGATE.search(username):
            return None
        return await self._users.sign_in_name(username)

    async def _verify(self, user: User | None, password: str, scope: str) -> SignedIn:
        if user is None or not user.active:
            await self._passwords.verify(password, user.password_hash if user else "")
            raise unknown(user)
        asp = await self._asps.find(user, password)
        if asp is not None:
            require_asp(user, asp, scope)
            self._tasks.start(self._asps.strengthen(user, asp, password), "rehash")
            return SignedIn(user, _principal(user, scope, asp), asp=asp)
        verified = await self._passwords.verify(password, user.password_hash)
        if verified.right:
            require_own(user, scope)
            if verified.weak or (
                self._scram is not None and self._scram.lacks(user.scram, user.password_hash, user, password)
            ):
                self._tasks.start(self._strengthen(user, password, weak=verified.weak), "rehash")
            return SignedIn(user, _principal(user, scope))
        if user.temp_password_hash and await self._temporary(user, password):
            if scope != MASTER:
                raise AccountDisabled(_WRONG_SCOPE, user=user.id)
            if user.temp_password_starts and user.temp_password_starts > datetime.now(UTC):
                raise NotYetValid(user=user.id)
            return SignedIn(user, _principal(user, scope), change_password=True)
        raise AuthenticationFailed(user=user.id)

    async def _verify_proof(self, user: User | None, proof: ScramProof, scope: str) -> SignedIn:
        asps = await self._asps.of(user.id if user is not None else _NOBODY)
        own = (user.scram, user.password_hash) if user is not None else (None, "")
        verifiers = [own, *((asp.scram, asp.hash) for asp in asps)]
        found = await self._required_scram.match(verifiers, proof)
        if user is None or not user.active:
            raise unknown(user)
        if found is None:
            raise AuthenticationFailed(user=user.id)
        index, signature = found
        if index == 0:
            require_own(user, scope)
            return SignedIn(user, _principal(user, scope), signature=signature)
        asp = asps[index - 1]
        require_asp(user, asp, scope)
        return SignedIn(user, _principal(user, scope, asp), asp=asp, signature=signature)

    @property
    def _required_scram(self) -> Scram:
        if self._scram is None:
            raise AssertionError("a proof came where none is asked for")
        return self._scram

    async def _temporary(self, user: User, password: str) -> bool:
        expires = user.temp_password_expires
        if expires is None or expires <= datetime.now(UTC):
            return False
        return (await self._passwords.verify(password, user.temp_password_hash)).right

    async def _check(self, key: str, throttle: Throttle) -> None:
        if not key or not throttle.failures:
            return
        count = await self._counters.get(key)
        if count.value >= throttle.failures:
            raise RateLimited("Authentication was rate limited", ttl=count.ttl)

    async def _count(self, key: str, network: str) -> None:
        await self._counters.incr(key, self._account.window)
        if network_key(network):
            await self._counters.incr(network_key(network), self._network.window)

    async def _strengthen(self, user: User, password: str, *, weak: bool) -> None:
        hashed = await self._passwords.hash(password) if weak else user.password_hash
        scram = await self._scram.verifier(password, hashed, user.username, user) if self._scram is not None else None
        await self._records.renew(user.id, user.password_hash, hashed, scram)


async def _discarded(entry: Coroutine[None, None, str]) -> None:
    await entry


def _stale(last_login: datetime | None) -> bool:
    # Many connections of one client within a minute are one sign-in, and one write.
    return last_login is None or datetime.now(UTC) - last_login > timedelta(minutes=1)


def _principal(user: User, scope: str, asp: ApplicationPassword | None = None) -> Principal:
    return Principal(
        user=user.id,
        username=user.username,
        role="user",
        scope=scope,
        auth_version=user.auth_version,
        session_version=user.session_version,
        credential=asp.id if asp is not None else "",
    )
