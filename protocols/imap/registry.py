"""All commands. What is not in this tuple does not exist."""

from collections.abc import Mapping

from protocols.imap import capabilities
from protocols.imap.command import Command
from protocols.imap.commands.acl import DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS, SETACL
from protocols.imap.commands.append import APPEND
from protocols.imap.commands.authenticate import AUTHENTICATE
from protocols.imap.commands.cancelupdate import CANCELUPDATE
from protocols.imap.commands.capability import CAPABILITY
from protocols.imap.commands.close import CLOSE, UNSELECT
from protocols.imap.commands.compress import COMPRESS
from protocols.imap.commands.copy import COPY, UID_COPY
from protocols.imap.commands.create import CREATE
from protocols.imap.commands.delete import DELETE
from protocols.imap.commands.enable import ENABLE
from protocols.imap.commands.expunge import EXPUNGE, UID_EXPUNGE
from protocols.imap.commands.fetch import FETCH, UID_FETCH
from protocols.imap.commands.identify import ID
from protocols.imap.commands.idle import IDLE
from protocols.imap.commands.list import LIST, LSUB, XLIST
from protocols.imap.commands.login import LOGIN
from protocols.imap.commands.logout import LOGOUT
from protocols.imap.commands.metadata import GETMETADATA, SETMETADATA
from protocols.imap.commands.move import MOVE, UID_MOVE
from protocols.imap.commands.multisearch import ESEARCH
from protocols.imap.commands.namespace import NAMESPACE
from protocols.imap.commands.noop import CHECK, NOOP
from protocols.imap.commands.notify import NOTIFY
from protocols.imap.commands.quota import GETQUOTA, GETQUOTAROOT
from protocols.imap.commands.rename import RENAME
from protocols.imap.commands.replace import REPLACE, UID_REPLACE
from protocols.imap.commands.search import SEARCH, UID_SEARCH
from protocols.imap.commands.select import EXAMINE, SELECT
from protocols.imap.commands.sort import SORT, UID_SORT
from protocols.imap.commands.starttls import STARTTLS
from protocols.imap.commands.status import STATUS
from protocols.imap.commands.store import STORE, UID_STORE
from protocols.imap.commands.subscribe import SUBSCRIBE, UNSUBSCRIBE
from protocols.imap.commands.thread import THREAD, UID_THREAD
from protocols.imap.commands.uidbatches import UIDBATCHES
from protocols.imap.commands.unauthenticate import UNAUTHENTICATE
from protocols.imap.commands.urlauth import GENURLAUTH, RESETKEY
from protocols.imap.commands.urlfetch import URLFETCH

COMMANDS: tuple[Command, ...] = (
    # RFC 3501 §6.1, §6.2: any state, before login
    CAPABILITY,
    NOOP,
    LOGOUT,
    UNAUTHENTICATE,
    COMPRESS,
    ID,
    STARTTLS,
    AUTHENTICATE,
    LOGIN,
    # RFC 3501 §6.3: logged in
    ENABLE,
    NAMESPACE,
    SELECT,
    EXAMINE,
    CREATE,
    DELETE,
    RENAME,
    SUBSCRIBE,
    UNSUBSCRIBE,
    LIST,
    LSUB,
    XLIST,
    STATUS,
    GETQUOTA,
    GETQUOTAROOT,
    GETMETADATA,
    SETMETADATA,
    SETACL,
    DELETEACL,
    GETACL,
    LISTRIGHTS,
    MYRIGHTS,
    APPEND,
    ESEARCH,
    GENURLAUTH,
    RESETKEY,
    URLFETCH,
    IDLE,
    NOTIFY,
    # RFC 3501 §6.4: selected
    CHECK,
    CLOSE,
    UNSELECT,
    EXPUNGE,
    UID_EXPUNGE,
    SEARCH,
    UID_SEARCH,
    SORT,
    UID_SORT,
    CANCELUPDATE,
    UIDBATCHES,
    THREAD,
    UID_THREAD,
    FETCH,
    UID_FETCH,
    STORE,
    UID_STORE,
    COPY,
    UID_COPY,
    MOVE,
    UID_MOVE,
    REPLACE,
    UID_REPLACE,
)


def commands() -> Mapping[str, Command]:
    """By name. Raises LookupError: a name twice, or a capability without its commands; called at start."""
    table = {command.name: command for command in COMMANDS}
    if len(table) != len(COMMANDS):
        raise LookupError("a command is registered twice")
    capabilities.check(table)
    return table
