"""The capability table: what is announced, when, and which commands it promises."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from protocols.imap.session import Session
from protocols.imap.settings import ImapSettings
from protocols.imap.wire.response import capability
from protocols.sasl.mechanisms import SCRAM, SCRAM_PLUS


def _always(_session: Session) -> bool:
    return True


def _logged_in(session: Session) -> bool:
    return session.logged_in


def _offers(mechanism: str) -> Callable[[Session], bool]:
    return lambda session: not session.logged_in and mechanism in session.mechanisms


def _starttls(session: Session) -> bool:
    return not session.logged_in and session.starttls_allowed


def _login_disabled(session: Session) -> bool:
    return not session.logged_in and not session.login_allowed


def _compress(session: Session) -> bool:
    return session.logged_in and not session.writer.compressed  # RFC 4978 §3


def _message_limit(session: Session) -> bool:
    return session.logged_in and bool(session.settings.message_limit)


def _save_limit(session: Session) -> bool:
    """RFC 9738 §3: instead of MESSAGELIMIT."""
    return session.logged_in and bool(session.settings.save_limit) and not session.settings.message_limit


@dataclass(frozen=True, slots=True)
class Capability:
    """`when`: it is announced to this session now. `commands`: must be registered, or the server does not start."""

    name: str
    when: Callable[[Session], bool] = _always
    commands: tuple[str, ...] = ()


CAPABILITIES: tuple[Capability, ...] = (
    Capability("IMAP4rev1", commands=("CAPABILITY", "NOOP", "LOGOUT")),
    # RFC 9051 §6.1.1: both are announced, and the client chooses by ENABLE.
    Capability("IMAP4rev2", commands=("ENABLE", "SEARCH", "UID SEARCH", "NAMESPACE", "UNSELECT", "MOVE", "UID MOVE")),
    Capability("STARTTLS", _starttls, ("STARTTLS",)),  # RFC 3501 §6.2.1
    Capability("LOGINDISABLED", _login_disabled),
    Capability("AUTH=PLAIN", _offers("PLAIN"), ("AUTHENTICATE",)),  # RFC 4616
    Capability("AUTH=PLAIN-CLIENTTOKEN", _offers("PLAIN-CLIENTTOKEN"), ("AUTHENTICATE",)),
    Capability("AUTH=LOGIN", _offers("LOGIN"), ("AUTHENTICATE",)),
    Capability("AUTH=SCRAM-SHA-256", _offers(SCRAM), ("AUTHENTICATE",)),  # RFC 7677
    Capability("AUTH=SCRAM-SHA-256-PLUS", _offers(SCRAM_PLUS), ("AUTHENTICATE",)),  # RFC 7677
    Capability("SASL-IR", commands=("AUTHENTICATE",)),  # RFC 4959
    Capability("LITERAL+", lambda session: not session.settings.literal_minus),  # RFC 7888; the framer
    Capability("LITERAL-", lambda session: session.settings.literal_minus),  # RFC 7888 §5: never both
    Capability("ID", commands=("ID",)),  # RFC 2971
    Capability("ENABLE", commands=("ENABLE",)),  # RFC 5161
    Capability("IDLE", _logged_in, ("IDLE",)),  # RFC 2177
    Capability("NAMESPACE", _logged_in, ("NAMESPACE",)),  # RFC 2342
    Capability("CHILDREN", _logged_in, ("LIST",)),  # RFC 3348
    Capability("LIST-EXTENDED", _logged_in, ("LIST",)),  # RFC 5258
    Capability("LIST-STATUS", _logged_in, ("LIST", "STATUS")),  # RFC 5819
    Capability("SPECIAL-USE", _logged_in, ("LIST",)),  # RFC 6154
    Capability("CREATE-SPECIAL-USE", _logged_in, ("CREATE",)),  # RFC 6154 §5.2
    Capability("XLIST", _logged_in, ("XLIST",)),
    Capability("UNSELECT", _logged_in, ("UNSELECT",)),  # RFC 3691
    Capability("UIDPLUS", _logged_in, ("APPEND", "COPY", "UID COPY", "UID EXPUNGE")),  # RFC 4315
    Capability("MOVE", _logged_in, ("MOVE", "UID MOVE")),  # RFC 6851
    Capability("ESEARCH", _logged_in, ("SEARCH", "UID SEARCH")),  # RFC 4731
    Capability("SEARCHRES", _logged_in, ("SEARCH", "UID SEARCH")),  # RFC 5182
    Capability("WITHIN", _logged_in, ("SEARCH", "UID SEARCH")),  # RFC 5032
    Capability("SEARCH=FUZZY", _logged_in, ("SEARCH", "UID SEARCH")),  # RFC 6203
    Capability("MULTISEARCH", _logged_in, ("ESEARCH",)),  # RFC 7377
    Capability("SORT", _logged_in, ("SORT", "UID SORT")),  # RFC 5256
    Capability("SORT=DISPLAY", _logged_in, ("SORT", "UID SORT")),  # RFC 5957
    Capability("ESORT", _logged_in, ("SORT", "UID SORT")),  # RFC 5267
    Capability("CONTEXT=SEARCH", _logged_in, ("SEARCH", "UID SEARCH", "CANCELUPDATE")),  # RFC 5267
    Capability("CONTEXT=SORT", _logged_in, ("SORT", "UID SORT", "CANCELUPDATE")),  # RFC 5267
    Capability("THREAD=ORDEREDSUBJECT", _logged_in, ("THREAD", "UID THREAD")),  # RFC 5256
    Capability("THREAD=REFERENCES", _logged_in, ("THREAD", "UID THREAD")),  # RFC 5256
    Capability("THREAD=REFS", _logged_in, ("THREAD", "UID THREAD")),  # draft-ietf-morg-inthread
    Capability("I18NLEVEL=1", _logged_in),  # RFC 5255 §4: duckmail.mime.collation
    Capability("CONDSTORE", _logged_in, ("SELECT", "FETCH", "STORE", "SEARCH", "STATUS")),  # RFC 7162
    Capability("QRESYNC", _logged_in, ("ENABLE", "SELECT", "UID FETCH")),  # RFC 7162
    Capability("OBJECTID", _logged_in, ("CREATE", "SELECT", "STATUS", "FETCH", "SEARCH")),  # RFC 8474
    Capability("SAVEDATE", _logged_in, ("FETCH", "SEARCH")),  # RFC 8514
    Capability("STATUS=SIZE", _logged_in, ("STATUS",)),  # RFC 8438
    Capability("QUOTA", _logged_in, ("GETQUOTA", "GETQUOTAROOT")),  # RFC 9208
    Capability("QUOTA=RES-STORAGE", _logged_in, ("GETQUOTA", "STATUS")),  # RFC 9208 §5.1
    Capability("QUOTA=RES-MESSAGE", _logged_in, ("GETQUOTA", "STATUS")),  # RFC 9208 §5.2
    Capability("QUOTA=RES-MAILBOX", _logged_in, ("GETQUOTA", "CREATE")),  # RFC 9208 §5.3
    Capability("METADATA", _logged_in, ("GETMETADATA", "SETMETADATA")),  # RFC 5464
    Capability("METADATA-SERVER", _logged_in, ("GETMETADATA", "SETMETADATA")),  # RFC 5464
    Capability("LIST-METADATA", _logged_in, ("LIST", "GETMETADATA")),  # RFC 9590
    # RFC 4314; RFC 4314 §5.1.1: the rights beside those of RFC 2086
    Capability("ACL", _logged_in, ("SETACL", "DELETEACL", "GETACL", "LISTRIGHTS", "MYRIGHTS")),
    Capability("RIGHTS=texk", _logged_in, ("SETACL",)),
    Capability("LIST-MYRIGHTS", _logged_in, ("LIST", "MYRIGHTS")),  # RFC 8440
    Capability("UNAUTHENTICATE", _logged_in, ("UNAUTHENTICATE",)),  # RFC 8437
    Capability("COMPRESS=DEFLATE", _compress, ("COMPRESS",)),  # RFC 4978
    Capability("INPROGRESS", _logged_in),  # RFC 9585
    Capability("UIDONLY", _logged_in, ("ENABLE", "UID FETCH", "UID STORE", "UID SEARCH", "UID COPY")),  # RFC 9586
    Capability("PARTIAL", _logged_in, ("UID FETCH", "SEARCH", "UID SEARCH")),  # RFC 9394
    Capability("NOTIFY", _logged_in, ("NOTIFY",)),  # RFC 5465
    Capability("MULTIAPPEND", _logged_in, ("APPEND",)),  # RFC 3502
    Capability("CATENATE", _logged_in, ("APPEND", "REPLACE")),  # RFC 4469
    Capability("URLAUTH", _logged_in, ("GENURLAUTH", "RESETKEY", "URLFETCH")),  # RFC 4467
    Capability("URLAUTH=BINARY", _logged_in, ("URLFETCH",)),  # RFC 5524
    Capability("REPLACE", _logged_in, ("REPLACE", "UID REPLACE")),  # RFC 8508
    Capability("BINARY", _logged_in, ("FETCH", "APPEND")),  # RFC 3516
    Capability("PREVIEW", _logged_in, ("FETCH",)),  # RFC 8970
    Capability("UTF8=ACCEPT", _logged_in, ("ENABLE", "APPEND")),  # RFC 9755
    Capability("APPENDLIMIT", _logged_in, ("APPEND", "STATUS")),  # RFC 7889
    Capability("UIDBATCHES", _logged_in, ("UIDBATCHES",)),  # RFC 10022
    Capability("MESSAGELIMIT", _message_limit, ("FETCH", "SEARCH", "STORE", "COPY", "MOVE", "UID EXPUNGE")),  # RFC 9738
    Capability("SAVELIMIT", _save_limit, ("COPY", "APPEND")),  # RFC 9738
)
# Those that are announced with a number.
_NUMBERS: Mapping[str, Callable[[ImapSettings], int]] = {
    "APPENDLIMIT": lambda settings: settings.message_size,
    "MESSAGELIMIT": lambda settings: settings.message_limit,
    "SAVELIMIT": lambda settings: settings.save_limit,
}


def announced(session: Session) -> bytes:
    """`CAPABILITY ...` as this session has it now: untagged data, and the content of the response code."""
    names = [known.name for known in CAPABILITIES if known.when(session)]
    return capability(f"{name}={_NUMBERS[name](session.settings)}" if name in _NUMBERS else name for name in names)


def check(commands: Iterable[str]) -> None:
    """Raises LookupError when a capability promises a command that does not exist; called at start."""
    known = set(commands)
    for row in CAPABILITIES:
        missing = [name for name in row.commands if name not in known]
        if missing:
            raise LookupError(f"{row.name} is announced without {', '.join(missing)}")
