"""Who may do what with a mailbox (RFC 4314), and by which name another account knows it (RFC 2342)."""

from collections.abc import Iterable
from dataclasses import dataclass

from duckmail.errors import InvalidInput
from duckmail.model.flags import DELETED, SEEN

# RFC 4314 §2.1, in the order in which they are written here.
ALL_RIGHTS = "lrswipkxtea"
ANYONE = "anyone"
# RFC 4314 §2.1.1: two rights of old, each for the ones that took its place.
OBSOLETE = {"c": "kx", "d": "te"}
KNOWN_BY = "lrikxa"  # RFC 4314 §4: with any of these an account may ask for its own rights
CHANGES = "iswte"  # RFC 4314 §5.2: without any of these a mailbox is read only
MAX_GRANTS = 100  # of one mailbox

# RFC 2342 §5: the namespace of other users' mailboxes: Shared/owner/path.
SHARED = "Shared"
_PREFIX = SHARED + "/"

ALL_FLAGS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights that are given to an account, or to `ANYONE`; or taken from it, when `negative`. `who`: its id."""

    who: str
    rights: str
    negative: bool = False


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """The same for people. `identifier`: the user name, with `-` in front when the rights are taken away."""

    identifier: str
    rights: str


def ordered(rights: Iterable[str]) -> str:
    """Each once, in their order."""
    given = set(rights)
    return "".join(right for right in ALL_RIGHTS if right in given)


def effective(grants: Iterable[Grant], user: str) -> str:
    """What an account that is not the owner may do (RFC 4314 §2): what any entry gives it, without what one takes."""
    given: set[str] = set()
    taken: set[str] = set()
    for grant in grants:
        if grant.who in (user, ANYONE):
            (taken if grant.negative else given).update(grant.rights)
    return ordered(given - taken)


def parse_rights(text: str) -> str:
    """Rights as somebody wrote them, obsolete ones as what they stand for. Raises: InvalidInput: one is not known."""
    given = "".join(OBSOLETE.get(right, right) for right in text)
    for right in given:
        if right not in ALL_RIGHTS:
            raise InvalidInput("There is no such right")
    return ordered(given)


def with_obsolete(rights: str) -> str:
    """RFC 4314 §2.1.1: with `c` and `d` when any of what they stand for is among them."""
    return rights + "".join(old for old, new in OBSOLETE.items() if any(right in rights for right in new))


def flag_mask(rights: str) -> int:
    """The bits of the flags that these rights let somebody set and clear (RFC 4314 §4: STORE, COPY, APPEND)."""
    mask = SEEN if "s" in rights else 0
    if "t" in rights:
        mask |= DELETED
    if "w" in rights:
        mask |= ALL_FLAGS & ~(SEEN | DELETED)
    return mask


def permitted_flags(names: Iterable[str], rights: str) -> tuple[str, ...]:
    """Those of the flags that these rights let somebody set and clear."""
    return tuple(name for name in names if right_of(name) in rights)


def right_of(flag: str) -> str:
    """RFC 4314 §4: one right for \\Seen, one for \\Deleted, one for all others."""
    return {"\\seen": "s", "\\deleted": "t"}.get(flag.lower(), "w")


def shared_path(owner: str, path: str) -> str:
    """The name by which others know the mailbox `path` of the account with the user name `owner`."""
    return f"{_PREFIX}{owner}/{path}"


def in_shared(path: str) -> bool:
    """The name is below the namespace of others' mailboxes; that alone is a name like any other."""
    return path.startswith(_PREFIX)


def split_shared(path: str) -> tuple[str, str]:
    """Owner's user name and its own name for the mailbox; an empty one where there is none."""
    owner, _, rest = path.removeprefix(_PREFIX).partition("/")
    return owner, rest
