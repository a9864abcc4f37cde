"""Every key there is. The descriptions are for the reader of `config/duckmail.toml`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from duckmail.config.clientsetup import ClientSetup, MtaSts
from duckmail.config.mailauth import Mailauth
from duckmail.config.mx import Mx
from duckmail.config.outbound import Outbound
from duckmail.config.section import MINUTE, Section
from duckmail.config.trace import Trace
from duckmail.config.units import Duration, File, Folder, Hostname, Listen, Network, Secret, Size, Tuple

MIB = 1 << 20


class Server(Section):
    """The process."""

    hostname: Hostname = Field(
        default="", description="Name in greetings and trace fields. Empty: the machine's own name."
    )
    domain: Hostname = Field(
        default="",
        description="Domain of the address of an account that is made without one. Empty: the host name.",
    )
    data: Folder = Field(
        default=Path("var"),
        description="Folder for what the server keeps beside the databases: the first certificate and token, and the "
        "embedded databases. `duckmail serve --data` overrides it. Without a configuration file: seen from the "
        "current folder.",
    )
    drain_timeout: Duration = Field(
        default=8.0,
        description="How long a stopping server waits for commands and deliveries that are under way.",
        ge=0,
        le=300,
    )


class Mongo(Section):
    """The database. Without a uri duckmail starts a MongoDB of its own: for trial use, never for production."""

    uri: Secret = Field(
        default=SecretStr(""),
        description='A replica set or a sharded cluster of MongoDB 7 or 8: "mongodb://host1,host2/?replicaSet=rs0". '
        "Empty: an embedded server under server.data.",
    )
    database: str = Field(
        default="duckmail",
        description="Name of the database that holds accounts and mail.",
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z0-9_-]+$",
    )


class Redis(Section):
    """The notifier and the rate counters. No mail and no setting is in there: losing it costs delay, not data."""

    url: Secret = Field(
        default=SecretStr(""),
        description='Redis 7 or Valkey: "redis://host:6379/0", "rediss://...", "unix:///path". "none": do without. '
        "Empty: an embedded server when mongo.uri is empty too, else none.",
    )
    prefix: str = Field(default="duckmail:", description="What all keys and channels begin with.", max_length=64)


class Imap(Section):
    """IMAP: how mail programs read and manage mail."""

    enabled: bool = Field(default=True, description="Whether IMAP runs at all.")
    listen: Tuple[Listen] = Field(
        default=("127.0.0.1:1143",), description="Where it listens for clients that may use STARTTLS."
    )
    listen_tls: Tuple[Listen] = Field(
        default=("127.0.0.1:1993",), description="Where it listens with TLS from the first octet."
    )
    starttls: bool = Field(default=True, description="Offer STARTTLS on `listen`.")
    plaintext_login: bool = Field(
        default=False,
        description="Allow passwords without TLS. Only for a trusted loopback: they cross the network readable.",
    )
    login_timeout: Duration = Field(default=MINUTE, description="How long a client may take to log in.", ge=1, le=3600)
    idle_timeout: Duration = Field(
        default=30 * MINUTE,
        description="How long a logged-in client may be silent. RFC 3501 asks for at least 30 minutes.",
        ge=MINUTE,
        le=86400,
    )
    literal_minus: bool = Field(
        default=False,
        description="Announce LITERAL- instead of LITERAL+: what a client sends without waiting for the server may "
        "have 4096 octets, so that a large message that is refused is not sent first.",
    )
    message_limit: int = Field(
        default=0,
        description="Messages that one FETCH, SEARCH, STORE, COPY, MOVE, UID EXPUNGE or APPEND works on, at most. "
        "Programs that do not know MESSAGELIMIT see the newest so many of a larger mailbox. RFC 9738 asks for at least "
        "1000. 0: no limit.",
        ge=0,
        le=1_000_000,
    )
    save_limit: int = Field(
        default=0,
        description="The same for COPY and APPEND alone, where message_limit is 0. 0: no limit.",
        ge=0,
        le=1_000_000,
    )


class Lmtp(Section):
    """LMTP: how a mail relay, such as Postfix, delivers. It has no passwords: who reaches it may deliver."""

    enabled: bool = Field(default=True, description="Whether LMTP runs at all.")
    listen: Tuple[Listen] = Field(default=("127.0.0.1:2424",), description="Where it listens.")
    starttls: bool = Field(default=False, description="Offer STARTTLS.")
    peers: Tuple[Network] = Field(
        default=("127.0.0.0/8", "::1", "unix"), description="Who may connect. unix stands for all unix sockets."
    )
    postmaster: str = Field(
        default="",
        description="Whose mail <postmaster> without a domain is. Empty: postmaster at the host name.",
        max_length=256,
    )
    refuse_bare: bool = Field(
        default=True,
        description="Refuse messages in which a CR or LF stands alone: programs disagree where such lines end.",
    )
    max_recipients: int = Field(default=1000, description="Recipients of one transaction.", ge=100, le=10000)
    spam_peers: Tuple[Network] = Field(
        default=("127.0.0.0/8", "::1", "unix"),
        description="Whose word counts, of those who may connect, when a header says that a message is spam: "
        "X-Rspamd-Action, X-Spam-Flag, X-Spam-Status, X-Spam; and from whom a message came, by XFORWARD, XCLIENT or in "
        "the top Received field. Empty: nobody's.",
    )
    over_quota: Literal["reject", "defer"] = Field(
        default="reject", description="Mail for a full account: 552, it goes back; or 452, the relay tries again."
    )


class Pop3(Section):
    """POP3: how simple mail programs fetch the INBOX."""

    enabled: bool = Field(default=True, description="Whether POP3 runs at all.")
    listen: Tuple[Listen] = Field(
        default=("127.0.0.1:1110",), description="Where it listens for clients that may use STLS."
    )
    listen_tls: Tuple[Listen] = Field(
        default=("127.0.0.1:1995",), description="Where it listens with TLS from the first octet."
    )
    starttls: bool = Field(default=True, description="Offer STLS on `listen`.")
    plaintext_login: bool = Field(
        default=False,
        description="Allow passwords without TLS. Only for a trusted loopback: they cross the network readable.",
    )
    login_timeout: Duration = Field(default=MINUTE, description="How long a client may take to log in.", ge=1, le=3600)
    idle_timeout: Duration = Field(
        default=10 * MINUTE,
        description="How long a logged-in client may be silent. RFC 1939 asks for at least 10 minutes.",
        ge=MINUTE,
        le=86400,
    )
    delete: Literal["trash", "expunge"] = Field(
        default="trash", description="What becomes of deleted messages at QUIT: they move to Trash, or are removed."
    )


class Submission(Section):
    """Submission: how mail programs send. It always asks for a login."""

    enabled: bool = Field(default=True, description="Whether submission runs at all.")
    listen: Tuple[Listen] = Field(
        default=("127.0.0.1:1587",), description="Where it listens for clients that use STARTTLS."
    )
    listen_tls: Tuple[Listen] = Field(
        default=("127.0.0.1:1465",), description="Where it listens with TLS from the first octet."
    )
    starttls: bool = Field(default=True, description="Offer STARTTLS on `listen`.")
    plaintext_login: bool = Field(
        default=False,
        description="Allow passwords without TLS. Only for a trusted loopback: they cross the network readable.",
    )
    sender: Literal["refuse", "rewrite"] = Field(
        default="refuse",
        description="What becomes of a sender, in the envelope or in From, that is not the account's: the message is "
        "refused, or the account's main address takes its place.",
    )
    max_recipients: int = Field(default=400, description="Recipients of one message.", ge=100, le=10000)
    client_address: bool = Field(
        default=False, description="Tell the client's address in the Received line; recipients can then see it."
    )


class Profile(Section):
    """Profiles for Apple's systems, which set up an account with an application password of its own."""

    hostname: Hostname = Field(
        default="", description="The host that mail programs connect to. Empty: server.hostname."
    )
    organization: str = Field(default="", description="Shown as the profile's maker.", max_length=255)
    imap_port: int = Field(default=993, description="For IMAP with TLS, as clients see it.", ge=1, le=65535)
    pop3_port: int = Field(default=995, description="For POP3 with TLS, as clients see it.", ge=1, le=65535)
    smtp_port: int = Field(default=465, description="For submission with TLS, as clients see it.", ge=1, le=65535)


class Webauthn(Section):
    """Security keys as second factors of accounts. Keys are registered for the name given here, and for it alone."""

    id: Hostname = Field(
        default="",
        description="The domain of the webmail, or one above it: pages elsewhere cannot use the keys. Changing it "
        "loses those that are registered. Empty: server.hostname.",
    )
    name: str = Field(default="", description="What browsers show to people. Empty: the domain.", max_length=64)


class Metrics(Section):
    """Figures for Prometheus at /metrics. They name no account and no address, yet keep the port to yourself."""

    enabled: bool = Field(default=True, description="Whether there is such a listener.")
    listen: Tuple[Listen] = Field(default=("127.0.0.1:9464",), description="Where it listens, in plain HTTP.")


class Api(Section):
    """The REST API, compatible with WildDuck's."""

    enabled: bool = Field(default=True, description="Whether the API runs at all.")
    listen: Tuple[Listen] = Field(default=("127.0.0.1:8080",), description="Where it listens, in plain HTTP.")
    listen_tls: Tuple[Listen] = Field(default=(), description="Where it listens with TLS.")
    access_control: bool = Field(
        default=True,
        description="Ask for a token. Without it whoever reaches the port may do everything: only for a trusted "
        "loopback.",
    )
    token: Secret = Field(
        default=SecretStr(""),
        description="A token that may do everything. Empty: the one in the file api-token under server.data, which the "
        "first start makes.",
    )
    cors_origins: Tuple[str] = Field(
        default=("*",),
        description='Web origins that may call from a browser: "https://webmail.example.com", "*" for all.',
    )
    user_domains: Tuple[str] = Field(
        default=(),
        description="Domains in which accounts may make themselves addresses by their own tokens. Empty: the one of "
        "the account's main address.",
    )


class Tls(Section):
    """The certificate of all listeners. TLS 1.2 is the oldest version spoken. SIGHUP reads the files again."""

    certificate: File = Field(
        default=None, description="PEM file: the certificate and its chain. Empty: a self-signed one under server.data."
    )
    key: File = Field(default=None, description="PEM file: its private key, without a passphrase.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or none")
        return self


class Acme(Section):
    """Certificates that the API is told to obtain (`acme: true`), and renews by itself. See docs/certificates.md."""

    directory: str = Field(
        default="https://acme-v02.api.letsencrypt.org/directory",
        description="URL of the authority. By asking for a certificate its terms of service are agreed to.",
    )
    contact: str = Field(default="", description="Mail address that the authority may write to. Empty: none.")
    authorities: File = Field(
        default=None, description="PEM file: whom its TLS certificate has to come from. Empty: the well-known ones."
    )


class Proxy(Section):
    """The PROXY protocol, versions 1 and 2, of a load balancer in front of the mail listeners."""

    peers: Tuple[Network] = Field(
        default=(),
        description="Who begins every connection with a PROXY header: from them it is required, from others refused.",
    )


class Limits(Section):
    """What one message, one client and all of them together may use."""

    message_size: Size = Field(
        default=64 * MIB,
        description="The largest message, for LMTP, IMAP and the API alike.",
        ge=MIB,
        le=1024 * MIB,
    )
    quota: Size = Field(
        default=1024 * MIB, description="Mail of an account that has no quota of its own. 0: no limit.", ge=0
    )
    received: int = Field(
        default=60,
        description="Messages a minute that an account without a limit of its own receives; more are deferred. "
        "0: nobody has a limit.",
        ge=0,
    )
    connections: int = Field(
        default=10000,
        description="Connections of a process, all protocols together; each process has its own, as it has its own "
        "open files. 0: no limit.",
        ge=0,
    )
    per_network: int = Field(
        default=1000,
        description="Connections of one IPv4 address or one IPv6 /64, to all listeners of all processes together; "
        "without Redis each process counts alone. Unix sockets and lmtp.peers have no such limit. 0: nobody has.",
        ge=0,
    )
    per_user: int = Field(
        default=32,
        description="Sessions of one account, of all protocols and in all processes together. 0: no limit.",
        ge=0,
    )
    octet_budget: Size = Field(
        default=256 * MIB,
        description="Memory for all large messages that are being received at the same time; over it reading pauses. "
        "At least message_size.",
        ge=MIB,
    )

    @model_validator(mode="after")
    def _room_for_one(self) -> Self:
        if self.octet_budget < self.message_size:
            raise ValueError("octet_budget must be at least message_size")
        return self


class Auth(Section):
    """Passwords, and throttles of failed logins for all protocols together."""

    account_failures: int = Field(
        default=12, description="Failures of one account within account_window. 0: no limit.", ge=0
    )
    account_window: Duration = Field(default=120.0, description="Counted from the first failure.", ge=1, le=86400)
    network_failures: int = Field(
        default=60, description="Failures of one IPv4 address or one IPv6 /64 within network_window. 0: no limit.", ge=0
    )
    network_window: Duration = Field(default=120.0, description="Counted from the first failure.", ge=1, le=86400)
    scram: bool = Field(
        default=True,
        description="Offer SCRAM-SHA-256: clients prove that they know a password and do not send it. It works for "
        "passwords that were set since, or sent once by another mechanism. See docs/security.md.",
    )
    scram_plus: bool = Field(
        default=False,
        description="With TLS offer SCRAM-SHA-256-PLUS as well, bound to the certificate: who is between does not get "
        "in. The only channel binding is tls-server-end-point. Programs that choose it and know others alone cannot "
        "sign in then: NeoMutt of Debian 12 is one.",
    )
    scram_iterations: int = Field(
        default=50_000,
        description="Of SCRAM, for accounts that have no keys for it yet; the others keep theirs.",
        ge=4096,
        le=1_000_000,
    )
    breach_url: str = Field(
        default="",
        description="List of breached passwords, asked for ranges of SHA-1: the first 5 digits are appended, as in "
        '"https://api.pwnedpasswords.com/range/". For passwords that are set with allowUnsafe false. Empty: none.',
        max_length=1024,
        pattern=r"^(?:https?://[!-~]+)?$",
    )


class Log(Section):
    """Logs are JSON lines on standard error: one per command or transaction, never a secret, never content."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level written.")


class Config(Section):
    """Configuration of duckmail.

    Sizes are octets and times are seconds; both may be written with a unit, as in "64 MiB" or "30 min".
    """

    server: Server = Server()
    mongo: Mongo = Mongo()
    redis: Redis = Redis()
    imap: Imap = Imap()
    lmtp: Lmtp = Lmtp()
    mx: Mx = Mx()
    mailauth: Mailauth = Mailauth()
    pop3: Pop3 = Pop3()
    submission: Submission = Submission()
    outbound: Outbound = Outbound()
    api: Api = Api()
    metrics: Metrics = Metrics()
    profile: Profile = Profile()
    client_setup: ClientSetup = ClientSetup()
    mta_sts: MtaSts = MtaSts()
    webauthn: Webauthn = Webauthn()
    tls: Tls = Tls()
    acme: Acme = Acme()
    trace: Trace = Trace()
    proxy: Proxy = Proxy()
    limits: Limits = Limits()
    auth: Auth = Auth()
    log: Log = Log()

    @property
    def embedded_mongo(self) -> bool:
        """Whether duckmail runs a MongoDB of its own."""
        return not self.mongo.uri.get_secret_value()

    @property
    def embedded_redis(self) -> bool:
        """Whether duckmail runs a Valkey of its own."""
        return self.embedded_mongo and not self.redis.url.get_secret_value()

    @property
    def redis_url(self) -> str:
        """The configured Redis; empty when there is none, or an embedded one."""
        url = self.redis.url.get_secret_value()
        return "" if url == "none" else url
