"""Second factors: one-time codes (TOTP), and custom ones that a webmail asks for itself.

- A seed is sealed in the database; the first right code turns it on.
- A code is good once, and RFC 6238's window is 6 steps to both sides; wrong ones count with the failed logins.
- The first method ends all sign-ins that were made without; mail programs then need application passwords.
"""

import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyotp

from duckmail.errors import AlreadyExists, AuthenticationFailed, Cannot, NotFound, RateLimited
from duckmail.model.account import Principal, User
from duckmail.model.credentials import Trace
from duckmail.model.events import of
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_account
from duckmail.services.auth import Auth
from duckmail.services.authlog import AuthLog
from storage.mfa import Mfa, seed_context

WINDOW = 6  # steps that a code may be early or late
STEP = 30  # seconds
PENDING = timedelta(hours=6)
_USED_KEPT = timedelta(seconds=(2 * WINDOW + 2) * STEP)
_CODE = re.compile(r"[0-9]{6}")
_USED = "This code has already been used, please try again with a new code"


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """`seed`: base32. `qrcode`: a data URI of a PNG."""

    seed: str = field(repr=False)
    qrcode: str = field(repr=False)


class TwoFactor:
    def __init__(self, records: Mfa, auth: Auth, authlog: AuthLog, sealer: Sealer, threads: Pool) -> None:
        self._records = records
        self._auth = auth
        self._authlog = authlog
        self._sealer = sealer
        self._threads = threads

    async def setup_totp(self, user: str, issuer: str, label: str, by: Principal) -> TotpSetup:
        """A seed that waits for its first code. `label`: "" is the user name.

        Raises: NotFound, AlreadyExists: it is on. NotPermitted, Unavailable.
        """
        require_account(by, user)
        found = await self._records.seeds(user)
        seed = pyotp.random_base32()
        sealed = self._sealer.seal(seed.encode(), seed_context(user))
        if not await self._records.begin_totp(user, sealed, datetime.now(UTC) + PENDING):
            raise AlreadyExists("TOTP 2FA is already enabled for this user")
        uri = pyotp.TOTP(seed).provisioning_uri(name=label or found.user.username, issuer_name=issuer)
        return TotpSetup(seed, await self._threads.run(_qrcode, uri))

    async def enable_totp(self, user: str, code: str, by: Principal, trace: Trace) -> User:
        """The account as it is now.

        Raises:
            Cannot: no seed waits. AlreadyExists: it is on. AuthenticationFailed: not its code. RateLimited, NotFound,
            NotPermitted, Unavailable.
        """
        require_account(by, user)
        found = await self._records.seeds(user)
        if "totp" in found.user.enabled_2fa:
            raise AlreadyExists("TOTP 2FA is already enabled for this user")
        if found.pending is None:
            raise Cannot("TOTP 2FA is not initialized for this user")
        if not await self._is_right(found.user, found.pending, code):
            await self._authlog.record(user, "enable 2fa totp", "fail", trace)
            raise AuthenticationFailed("Invalid authentication token")
        enabled = await self._records.enable_totp(user, found.pending, [of("mfa.totp.enabled", user)])
        if enabled is None:
            raise AlreadyExists("TOTP 2FA is already enabled for this user")
        await self._authlog.record(user, "enable 2fa totp", "success", trace)
        return enabled

    async def check_totp(self, user: str, code: str, by: Principal, trace: Trace) -> None:
        """Raises: Cannot: it is not on. AuthenticationFailed, RateLimited, NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        found = await self._records.seeds(user)
        if found.active is None or "totp" not in found.user.enabled_2fa:
            raise Cannot("TOTP 2FA is not enabled for this user")
        right = await self._is_right(found.user, found.active, code)
        await self._authlog.record(user, "check 2fa totp", "success" if right else "fail", trace)
        if not right:
            raise AuthenticationFailed("Failed to validate TOTP")

    async def _is_right(self, user: User, sealed: bytes, code: str) -> bool:
        """Raises: RateLimited: too many wrong ones, or a right one for the second time."""
        seed = self._sealer.unseal(sealed, seed_context(user.id)).decode()
        step = matching_step(seed, code, datetime.now(UTC))

        async def right() -> bool:
            return step is not None

        if not await self._auth.attempt(user, right) or step is None:
            return False
        if not await self._records.use_code(user.id, step, _USED_KEPT):
            raise RateLimited(_USED)
        return True

    async def disable_totp(self, user: str, by: Principal, trace: Trace) -> None:
        """Raises: Cannot: it is not on. NotFound, NotPermitted, Unavailable."""
        await self._disable(user, "totp", by, trace)

    async def enable_custom(self, user: str, by: Principal, trace: Trace) -> User:
        """Raises: AlreadyExists, NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        await self._records.seeds(user)
        enabled = await self._records.enable_custom(user, [of("mfa.custom.enabled", user)])
        if enabled is None:
            raise AlreadyExists("Custom 2FA is already enabled for this user")
        await self._authlog.record(user, "enable 2fa custom", "success", trace)
        return enabled

    async def disable_custom(self, user: str, by: Principal, trace: Trace) -> None:
        """Raises: Cannot: it is not on. NotFound, NotPermitted, Unavailable."""
        await self._disable(user, "custom", by, trace)

    async def _disable(self, user: str, method: str, by: Principal, trace: Trace) -> None:
        require_account(by, user)
        await self._records.seeds(user)
        if not await self._records.disable(user, method, [of(f"mfa.{method}.disabled", user)]):
            raise Cannot(f"{method.upper() if method == 'totp' else 'Custom'} 2FA is not enabled for this user")
        await self._authlog.record(user, f"disable 2fa {method}", "", trace)

    async def disable_all(self, user: str, by: Principal, trace: Trace) -> None:
        """An account that does not exist has none. Raises: NotPermitted, Unavailable."""
        require_account(by, user)
        try:
            disabled = await self._records.disable_all(user, [of("mfa.disabled", user)])
        except NotFound:
            return
        if disabled:
            await self._authlog.record(user, "disable 2fa", "", trace)


def matching_step(seed: str, code: str, now: datetime) -> int | None:
    """The time step within the window whose code this is; all of them are compared, in constant time."""
    # RFC 6238 §5.2: the validating system allows for some steps of difference.
    if not _CODE.fullmatch(code):
        return None
    totp, current, found = pyotp.TOTP(seed), int(now.timestamp()) // STEP, None
    for step in range(current - WINDOW, current + WINDOW + 1):
        if hmac.compare_digest(totp.at(step * STEP), code):
            found = step
    return found


def _qrcode(uri: str) -> str:
    import segno  # noqa: PLC0415  (0.1 s to load, for who sets up a second factor; this runs in a thread)

    return str(segno.make(uri, micro=False).png_data_uri(scale=4))
