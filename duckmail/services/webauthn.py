"""Security keys as a second factor: W3C Web Authentication, level 2, of which we are the relying party.

- A challenge is 64 random octets, for one account and one purpose; the first answer takes it, whatever becomes of it.
- What was asked for (relying party, origin) is kept with the challenge: an answer cannot choose it anew.
- A key's counter only grows: one that does not is refused, for the key may have been copied.
- The answers are a browser's, as hostile as any input: they are parsed in a thread.
- The library is loaded there too, with the first answer: few installations have keys, and it takes 0.2 s.
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from duckmail.errors import AuthenticationFailed, Cannot, NoSuchChallenge, NoSuchKey
from duckmail.model.account import Principal, User
from duckmail.model.credentials import Challenge, SecurityKey, Trace
from duckmail.model.events import of
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_account
from duckmail.services.authlog import AuthLog
from storage.users import Users as Records
from storage.webauthn import METHOD, Waiting, WebAuthnRecords

CHALLENGE_OCTETS = 64
LASTS = timedelta(hours=1)
ALGORITHMS = (-7, -257)  # COSE's numbers of ECDSA and of RSASSA-PKCS1-v1_5, each with SHA-256
REGISTRATION, AUTHENTICATION = "registration", "authentication"

_FAILED = "Failed to verify the security key"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Who keys are registered with. `id`: a domain, that of web pages or above it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """For a challenge. `origin`: of the web page that will answer. `attachment`: `platform` or `cross-platform`.
    `rp_id`: "" is the server's."""

    origin: str
    attachment: str
    rp_id: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A challenge for `user`, and which of its keys it names."""

    user: User
    challenge: bytes = field(repr=False)
    rp: RelyingParty
    keys: list[SecurityKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a browser gave. `attestation`: of a registration; `authenticator_data`, `signature`: of a sign-in.
    `rp_id`: "" is what was asked for."""

    challenge: bytes = field(repr=False)
    raw_id: bytes
    client_data: bytes
    attestation: bytes = b""
    authenticator_data: bytes = b""
    signature: bytes = b""
    rp_id: str = ""


class WebAuthn:
    def __init__(
        self, records: WebAuthnRecords, users: Records, authlog: AuthLog, threads: Pool, party: RelyingParty
    ) -> None:
        self._records = records
        self._users = users
        self._authlog = authlog
        self._threads = threads
        self._party = party

    async def keys(self, user: str, by: Principal) -> list[SecurityKey]:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        await self._users.get(user)
        return await self._records.keys(user)

    async def remove(self, user: str, key: str, by: Principal, trace: Trace) -> bool:
        """False when there was none. Raises: NotFound (the user), NotPermitted, Unavailable, CommitUnknown."""
        require_account(by, user)
        await self._users.get(user)
        removed = await self._records.remove(user, key)
        if removed is not None:
            await self._authlog.record(user, "remove webauthn", "success", trace, credential=removed.description)
        return removed is not None

    async def ask_registration(self, user: str, ask: Ask, by: Principal) -> Asked:
        """`keys` of what is given: those that are registered already. Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._ask(await self._users.get(user), REGISTRATION, ask)

    async def register(self, user: str, answer: Answer, by: Principal, trace: Trace) -> SecurityKey:
        """Raises:
        NotFound (the user), NoSuchChallenge, AuthenticationFailed, AlreadyExists, LimitReached, NotPermitted,
        Unavailable, CommitUnknown.
        """
        require_account(by, user)
        await self._users.get(user)
        asked = await self._take(user, REGISTRATION, answer)
        try:
            key = await self._threads.run(_guarded, lambda: _registered(asked, answer))
        except AuthenticationFailed:
            await self._authlog.record(user, "register webauthn", "fail", trace, credential=asked.description)
            raise
        made = await self._records.add(
            user, key, lambda made: [of("mfa.webauthn.registered", user, credential=replace(key, id=made).shown)]
        )
        await self._authlog.record(user, "register webauthn", "success", trace, credential=asked.description)
        return replace(key, id=made)

    async def ask_authentication(self, user: str, ask: Ask, by: Principal) -> Asked:
        """`keys` of what is given: those that may answer. Raises: NotFound, Cannot: it is not on. NotPermitted,
        Unavailable."""
        require_account(by, user)
        return await self._ask(await self._enabled(user), AUTHENTICATION, ask)

    async def authenticate(self, user: str, answer: Answer, by: Principal, trace: Trace) -> tuple[User, SecurityKey]:
        """The account, and the key that answered for it.

        Raises:
            NotFound (the user), Cannot: it is not on. NoSuchKey, NoSuchChallenge, AuthenticationFailed, NotPermitted,
            Unavailable.
        """
        require_account(by, user)
        account = await self._enabled(user)
        found = [key for key in await self._records.keys(user) if key.raw_id == answer.raw_id]
        if not found:
            raise NoSuchKey
        asked = await self._take(user, AUTHENTICATION, answer)
        named = found[0].description
        try:
            await self._verify(asked, answer, found[0])
        except AuthenticationFailed:
            await self._authlog.record(user, "check 2fa webauthn", "fail", trace, credential=named)
            raise
        await self._authlog.record(user, "check 2fa webauthn", "success", trace, credential=named)
        return account, found[0]

    async def _verify(self, asked: Challenge, answer: Answer, key: SecurityKey) -> None:
        counter = await self._threads.run(_guarded, lambda: _authenticated(asked, answer, key))
        # Two processes may have read the same counter: the database decides.
        if counter and not await self._records.count_up(key.id, counter):
            raise AuthenticationFailed(_FAILED, error="the counter did not grow")

    async def _enabled(self, user: str) -> User:
        account = await self._users.get(user)
        if METHOD not in account.enabled_2fa:
            raise Cannot("WebAuthn 2FA is not enabled for this user")
        return account

    async def _ask(self, user: User, purpose: str, ask: Ask) -> Asked:
        challenge = secrets.token_bytes(CHALLENGE_OCTETS)
        rp_id = ask.rp_id or self._party.id
        kept = Challenge(
            purpose=purpose, rp_id=rp_id, origin=ask.origin, attachment=ask.attachment, description=ask.description
        )
        await self._records.begin(Waiting(_digest(challenge), user.id, kept), LASTS)
        keys = [key for key in await self._records.keys(user.id) if key.attachment == ask.attachment]
        return Asked(user, challenge, RelyingParty(rp_id, self._party.name), keys)

    async def _take(self, user: str, purpose: str, answer: Answer) -> Challenge:
        asked = await self._records.take(user, purpose, _digest(answer.challenge))
        if asked is None:
            raise NoSuchChallenge
        if answer.rp_id and answer.rp_id != asked.rp_id:
            raise AuthenticationFailed(_FAILED, error="another relying party than was asked for")
        return asked


def _digest(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _guarded(verify: Callable[[], T]) -> T:
    """Whatever the answer made the library's parsers raise is an answer that is not right."""
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415  (loaded late, see above)

    try:
        return verify()
    except (WebAuthnException, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise AuthenticationFailed(_FAILED, error=type(error).__name__) from error


def _registered(asked: Challenge, answer: Answer) -> SecurityKey:
    # Web Authentication §7.1: Registering a New Credential.
    from webauthn import verify_registration_response  # noqa: PLC0415  (loaded late, see above)
    from webauthn.helpers.cose import COSEAlgorithmIdentifier  # noqa: PLC0415

    response = {
        "clientDataJSON": _base64url(answer.client_data),
        "attestationObject": _base64url(answer.attestation),
    }
    verified = verify_registration_response(
        credential=_credential(answer, response),
        expected_challenge=answer.challenge,
        expected_rp_id=asked.rp_id,
        expected_origin=asked.origin,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(number) for number in ALGORITHMS],
    )
    if verified.credential_id != answer.raw_id:
        raise AuthenticationFailed(_FAILED, error="another key than the one it says")
    return SecurityKey(
        id="",
        raw_id=verified.credential_id,
        public_key=verified.credential_public_key,
        counter=verified.sign_count,
        description=asked.description,
        attachment=asked.attachment,
        created=datetime.now(UTC),
    )


def _authenticated(asked: Challenge, answer: Answer, key: SecurityKey) -> int:
    """The key's counter. Web Authentication §7.2: Verifying an Authentication Assertion."""
    from webauthn import verify_authentication_response  # noqa: PLC0415  (loaded late, see above)

    response = {
        "clientDataJSON": _base64url(answer.client_data),
        "authenticatorData": _base64url(answer.authenticator_data),
        "signature": _base64url(answer.signature),
    }
    verified = verify_authentication_response(
        credential=_credential(answer, response),
        expected_challenge=answer.challenge,
        expected_rp_id=asked.rp_id,
        expected_origin=asked.origin,
        credential_public_key=key.public_key,
        credential_current_sign_count=key.counter,
    )
    return verified.new_sign_count


def _credential(answer: Answer, response: dict[str, str]) -> dict[str, object]:
    identifier = _base64url(answer.raw_id)
    return {
        "id": identifier,
        "rawId": identifier,
        "type": "public-key",
        "response": response,
        "clientExtensionResults": {},
    }
