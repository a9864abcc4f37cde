"""What a process counts for Prometheus: every metric there is, with its help and the values of its labels.

- Whoever does a thing counts it: `DELIVERIES["stored"].inc()`. Children are made here, once; to count is a look-up and
  a locked addition, a third of a microsecond, from any thread.
- No label holds an address, an account, an id or text of a client: values come from the tables here and from our own
  tables of commands. What stands in none of them is `unknown` or `other`, so a client adds no series either.
- Every value of a label exists from the start, as 0: the first event is an increase. Only commands come with their use.
- What is looked at rather than counted stands at the end, and is set for each scrape by `runtime.figures`.
- With `--workers N` each process counts for itself, in memory, and the parent gives out the figures of all with a label
  `worker` (`api.workers`). Sums in shared files (`prometheus_client.multiprocess`) would cost three times as much for
  each count, know neither a worker's memory nor its loop lag, and keep the files of processes that died; one port for
  each worker would be N targets, and none for sockets of systemd.
"""

from collections.abc import Iterable, Sequence
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

# They would be a series more for each counter, which Prometheus does not read.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
UNKNOWN, OTHER = "unknown", "other"

# Name of a metric -> label -> its values; None: the names in our own tables of commands.
STATED: dict[str, dict[str, frozenset[str] | None]] = {}


def _counters(name: str, text: str, label: str, values: Sequence[str]) -> dict[str, Counter]:
    family = Counter(name, text, [label], registry=REGISTRY)
    STATED[name] = {label: frozenset(values)}
    return {value: family.labels(value) for value in values}


def _gauges(name: str, text: str, label: str, values: Sequence[str]) -> Gauge:
    STATED[name] = {label: frozenset(values)}
    return Gauge(name, text, [label], registry=REGISTRY)


# Connections

SERVICES = ("imap", "imaps", "pop3", "pop3s", "lmtp", "mx", "submission", "submissions", "api", "metrics", OTHER)
TLS = ("no", "yes")
ACCEPTED = _counters(
    "duckmail_connections_accepted_total", "Connections that were accepted and served.", "service", SERVICES
)
# total, network, user: the limit that was reached. proxy: no proper PROXY header. handshake: TLS did not come about.
REFUSED = _counters(
    "duckmail_connections_refused_total",
    "Connections that were refused or came to nothing before a session, by reason.",
    "reason",
    ("total", "network", "user", "proxy", "handshake"),
)

# Commands and what they bring in

PROTOCOLS = ("imap", "pop3", "lmtp", "mx", "submission", "api")
# IMAP: ok, no, bad. POP3: ok, err. SMTP, LMTP and HTTP: the class of the reply or status.
RESULTS = ("ok", "no", "bad", "err", "2xx", "3xx", "4xx", "5xx", OTHER)
_CLASSES = (OTHER, OTHER, "2xx", "3xx", "4xx", "5xx")
_COMMANDS = Counter(
    "duckmail_commands_total",
    "Commands and API requests that were answered.",
    ["protocol", "command", "result"],
    registry=REGISTRY,
)
STATED["duckmail_commands_total"] = {
    "protocol": frozenset(PROTOCOLS),
    "command": None,
    "result": frozenset(RESULTS),
}
_COMMAND_SECONDS = Histogram(
    "duckmail_command_seconds",
    "Time from a whole command to its answer; without IDLE.",
    ["protocol"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
STATED["duckmail_command_seconds"] = {"protocol": frozenset(PROTOCOLS)}

INCOMING = ("lmtp", "mx", "submission")
MESSAGES = _counters(
    "duckmail_messages_received_total",
    "Messages that were received whole, whatever became of them.",
    "protocol",
    INCOMING,
)
MESSAGE_BYTES = _counters(
    "duckmail_messages_received_bytes_total", "Octets of the messages received.", "protocol", INCOMING
)

LOGIN_PROTOCOLS = ("imap", "pop3", "submission", "api")
LOGIN_RESULTS = ("ok", "failed", "disabled", "limited", "unavailable")
_LOGINS = Counter(
    "duckmail_logins_total",
    "Attempts to log in. failed: name or password; limited: refused unseen after too many failures.",
    ["protocol", "result"],
    registry=REGISTRY,
)
STATED["duckmail_logins_total"] = {"protocol": frozenset(LOGIN_PROTOCOLS), "result": frozenset(LOGIN_RESULTS)}
LOGINS = {pair: _LOGINS.labels(*pair) for pair in product(LOGIN_PROTOCOLS, LOGIN_RESULTS)}

# Delivery to accounts

RECIPIENTS = _counters(
    "duckmail_recipients_total",
    "Recipients of incoming mail that were looked up, by what was found.",
    "result",
    ("accepted", "unknown", "disabled", "full", "unavailable"),
)
DELIVERIES = _counters(
    "duckmail_deliveries_total",
    "Messages for an account, one for each recipient. duplicate: stored before; temporary, permanent: not stored.",
    "verdict",
    ("stored", "duplicate", "temporary", "permanent"),
)

# early: talked before the greeting. name: in EHLO. relay: for a domain that is none of ours. spam: as rspamd says.
MX_REFUSED = _counters(
    "duckmail_mx_refused_total",
    "What the MX listener refused or deferred of its own accord, by reason: clients, recipients and messages.",
    "reason",
    ("early", "name", "rate", "relay", "listed", "greylisted", "dmarc", "spam", "deferred"),
)

TRACES = _counters(
    "duckmail_trace_entries_total",
    "Steps in the story of messages. dropped: not kept, since there was no room or no database for it.",
    "result",
    ("written", "dropped"),
)

# The outbound queue

ORIGINS = ("submission", "api", "forward", "autoreply", "report")
QUEUED = _counters("duckmail_queue_submitted_total", "Messages put into the outbound queue.", "origin", ORIGINS)
# ambiguous: sent whole and never answered, so a later attempt may double it.
ATTEMPTS = _counters(
    "duckmail_queue_attempts_total",
    "Attempts to deliver a queued message, one for each recipient.",
    "outcome",
    ("delivered", "relayed", "deferred", "failed", "ambiguous"),
)

# The store

COMMITS = _counters(
    "duckmail_commits_total",
    "Transactions of the committer, by how they ended.",
    "result",
    # empty: nothing was to be changed. rejected: without the change that its mailbox did not take, run again. conflict,
    # outdated: run again. unknown: nobody could say whether it was committed.
    ("committed", "empty", "rejected", "conflict", "outdated", "failed", "unknown"),
)
COMMIT_SECONDS = Histogram(
    "duckmail_commit_seconds",
    "Time of a transaction that was committed, from its begin until it is durable.",
    buckets=(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
    registry=REGISTRY,
)
COMMIT_CHANGES = Histogram(
    "duckmail_commit_changes",
    "Changes that were committed together in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
    registry=REGISTRY,
)
VIEW_OPENS = _counters(
    "duckmail_view_opens_total",
    "Views of mailboxes that were asked for. hit: it was in memory; miss: it was loaded.",
    "result",
    ("hit", "miss"),
)

# The process

LOOP_LAG = Histogram(
    "duckmail_loop_lag_seconds",
    "How late a timer of the event loop fires, ten times a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)
SCRAPE_FAILURES = _counters(
    "duckmail_scrape_failures_total",
    "Figures that could not be had for a scrape, in time or at all.",
    "source",
    ("health", "queue"),
)
BUILD = Info("duckmail_build", "The version that runs, and its event loop.", registry=REGISTRY)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

# Looked at

CONNECTIONS = Gauge("duckmail_connections", "Connections with a session now.", ["service", "tls"], registry=REGISTRY)
STATED["duckmail_connections"] = {"service": frozenset(SERVICES), "tls": frozenset(TLS)}
OPEN = {pair: CONNECTIONS.labels(*pair) for pair in product(SERVICES, TLS)}
# The others, of HTTP, go up and down by themselves.
LISTENED = {pair: child for pair, child in OPEN.items() if pair[0] not in ("api", "metrics")}
COMMIT_QUEUE = Gauge("duckmail_commit_queue", "Changes that wait or are being committed.", registry=REGISTRY)
VIEWS = _gauges("duckmail_views", "Views of mailboxes in memory.", "state", ("held", "unused"))
VIEWS_BYTES = Gauge("duckmail_views_unused_bytes", "Memory of the views that no session holds.", registry=REGISTRY)
POOLS = ("scan", "passwords")
THREADS_PENDING = _gauges("duckmail_threads_pending", "Calls that run or wait in a pool of threads.", "pool", POOLS)
BUDGET = Gauge("duckmail_octet_budget_bytes", "Memory for large messages in reception, in all.", registry=REGISTRY)
BUDGET_USED = Gauge("duckmail_octet_budget_used_bytes", "Of the octet budget: what is reserved.", registry=REGISTRY)
BUDGET_WAITING = Gauge("duckmail_octet_budget_waiting", "Messages that wait for room.", registry=REGISTRY)
DATABASES = ("mongodb", "redis")
DATABASE_UP = _gauges(
    "duckmail_database_up", "1 when the database does what is asked of it, else 0.", "database", DATABASES
)
# due: it is time for an attempt. deferred: it waits for that. sending: a process works on it. held: by hand.
# They are figures of the database, so every process and every machine tells the same.
QUEUE_STATES = ("due", "deferred", "sending", "held")
QUEUE_MESSAGES = _gauges("duckmail_queue_messages", "Messages in the outbound queue.", "state", QUEUE_STATES)
QUEUE_OLDEST = _gauges(
    "duckmail_queue_oldest_seconds", "Since the oldest message in the outbound queue came.", "state", QUEUE_STATES
)


def service(name: str) -> str:
    """The label value of a listener's name."""
    return name if name in SERVICES else OTHER


def reply_class(code: int) -> str:
    """The label value of an SMTP reply or an HTTP status: `2xx` to `5xx`."""
    return _CLASSES[code // 100] if 0 <= code < 600 else OTHER


class CommandMeter:
    """Counts the commands of one protocol and the time they take.

    Args:
        names: of our own table of commands; all others are counted as `unknown`.
        untimed: those that last as long as the client likes.
    """

    def __init__(self, protocol: str, names: Iterable[str], untimed: Iterable[str] = ()) -> None:
        self._protocol = protocol
        self._names = frozenset(names)
        self._untimed = frozenset(untimed)
        self._seconds = _COMMAND_SECONDS.labels(protocol)
        self._counters: dict[tuple[str, str], Counter] = {}

    def done(self, command: str, result: str, seconds: float) -> None:
        """One command was answered. `result`: one of `RESULTS`, in any case."""
        counter = self._counters.get((command, result))
        if counter is None:
            counter = self._counter(command, result)
        counter.inc()
        if command not in self._untimed:
            self._seconds.observe(seconds)

    def _counter(self, command: str, result: str) -> Counter:
        name = command if command in self._names else UNKNOWN
        known = result.lower() if result.lower() in RESULTS else OTHER
        counter = _COMMANDS.labels(self._protocol, name, known)
        if name == command and known != OTHER:
            self._counters[command, result] = counter  # never more than there are names and results
        return counter


def login(protocol: str, result: str) -> None:
    """Counts an attempt. `protocol`: as the log names it; the API's callers choose theirs, and count as `api`."""
    LOGINS[protocol if protocol in LOGIN_PROTOCOLS else "api", result].inc()
