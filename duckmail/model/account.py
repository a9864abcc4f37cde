"""Who somebody is: accounts and the principals that act for them."""

from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from duckmail.model.credentials import ScramVerifier


@dataclass(frozen=True, slots=True)
class Quota:
    """What the mailboxes of an account may hold together; 0 for no limit."""

    octets: int = 0
    messages: int = 0

    def __bool__(self) -> bool:
        return bool(self.octets or self.messages)

    def allows(self, octets: int, messages: int) -> bool:
        return not (0 < self.octets < octets or 0 < self.messages < messages)


NO_QUOTA = Quota()
# Octets of room that what is under way for an account within a second does not use up (docs/adr/0006).
AMPLE_ROOM = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Per-account limits; 0 stands for the server's default. Traffic in octets a day; `messages` in all mailboxes."""

    quota: int = 0
    messages: int = 0
    recipients: int = 0
    forwards: int = 0
    filters: int = 0
    imap_max_upload: int = 0
    imap_max_download: int = 0
    imap_max_connections: int = 0
    pop3_max_download: int = 0
    pop3_max_messages: int = 0
    received_max: int = 0

    def over(self, defaults: "Limits") -> "Limits":
        """These limits; wherever none is set `defaults`, and behind those the server's own."""
        names = [limit.name for limit in fields(self)]
        found = {name: getattr(self, name) or getattr(defaults, name) for name in names}
        return replace(DEFAULT_LIMITS, **{name: value for name, value in found.items() if value})


# What stands behind a limit of 0.
DEFAULT_LIMITS = Limits(
    quota=1 << 30,
    recipients=2000,
    forwards=2000,
    filters=400,
    imap_max_upload=10 << 30,
    imap_max_download=10 << 30,
    imap_max_connections=15,
    pop3_max_download=10 << 30,
    pop3_max_messages=250,
    received_max=60,
)


@dataclass(frozen=True, slots=True)
class User:
    """One account. `password_hash` is empty when none is set; `address` is the main address or empty.

    `temp_password_hash`: signs in with the master scope alone, from
    `temp_password_starts` until `temp_password_expires`, and has to be changed.
    `key_info`: name, address and fingerprint of `pub_key`, that mail is encrypted to.
    `mta_relay`: URL of the server that takes what the account sends to others, "" for the usual way; its password is
    sealed.
    `filtered`: there may be filters. `autoreply`: one is on.
    `retention`: milliseconds, 0 keeps mail for ever. `meta_data`, `internal_data`: a JSON object as text.
    `enabled_2fa`: of `totp`, `custom`, `webauthn`. `session_version` counts the logouts that were asked for,
    `logout_reason` is what the last one said. `defaults`: what is set for accounts without limits of their own, 0 for
    nothing. `scram`: of the password that `password_hash` is of.
    """

    id: str
    username: str
    name: str = ""
    address: str = ""
    language: str = ""
    password_hash: str = field(default="", repr=False)
    limits: Limits = Limits()
    defaults: Limits = Limits()
    retention: int = 0
    spam_level: int = 50
    tags: tuple[str, ...] = ()
    disabled_scopes: tuple[str, ...] = ()
    activated: bool = True
    disabled: bool = False
    suspended: bool = False
    auth_version: int = 0
    session_version: int = 0
    logout_reason: str = ""
    created: datetime | None = None
    last_login: datetime | None = None
    temp_password_hash: str = field(default="", repr=False)
    temp_password_expires: datetime | None = None
    temp_password_starts: datetime | None = None
    enabled_2fa: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    from_whitelist: tuple[str, ...] = ()
    upload_sent_messages: bool = False
    indexing: bool = False
    filtered: bool = False
    autoreply: bool = False
    pub_key: str = field(default="", repr=False)
    mta_relay: str = field(default="", repr=False)
    key_info: tuple[str, ...] = ()
    encrypt_messages: bool = False
    encrypt_forwarded: bool = False
    meta_data: str = field(default="{}", repr=False)
    internal_data: str = field(default="{}", repr=False)
    scram: ScramVerifier | None = None

    @property
    def active(self) -> bool:
        """May receive mail and sign in."""
        return not (self.disabled or self.suspended)

    @property
    def allowed(self) -> Limits:
        """The account's limits, with the server's wherever it has none of its own."""
        return self.limits.over(self.defaults)

    def quota(self, otherwise: int) -> Quota:
        """`otherwise`: octets, where neither the account nor the settings say; 0 for no limit."""
        octets = self.limits.quota or self.defaults.quota or otherwise
        return Quota(octets, self.limits.messages or self.defaults.messages)


@dataclass(frozen=True, slots=True)
class UserQuery:
    """What a listing is narrowed to; empty values do not narrow. All strings are matched literally.

    `text`: part of the main address, or of the user name without dots. `tags`: any of them. `required_tags`: all.
    `forward`: part of a forwarding target.
    """

    text: str = ""
    forward: str = ""
    tags: tuple[str, ...] = ()
    required_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts in a session or request: what the services check ownership against.

    `user`: the account's id, empty for server roles. `role`: `user` for a mail session, else an API role.
    `scope`: what the sign-in was for: `master`, `imap`, `pop3`, `smtp`. `auth_version`, `session_version`: of the
    account at the sign-in. `credential`: id of the application password that was used, if it was one. `token`: digest
    of the API's token, if it was one.
    """

    user: str
    username: str
    role: str = "user"
    scope: str = "master"
    auth_version: int = 0
    session_version: int = 0
    credential: str = ""
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the open sessions of an account depend on; see `User`."""

    active: bool
    auth_version: int
    session_version: int
    disabled_scopes: tuple[str, ...]
    logout_reason: str
