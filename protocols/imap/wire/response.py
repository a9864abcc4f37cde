"""Values as IMAP octets. Data for untagged responses comes without `* ` and CRLF; the response writer adds them."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from duckmail.model.mailbox import SEPARATOR
from duckmail.model.ordering import ThreadNode
from duckmail.model.ranges import Ranges
from protocols.imap.wire import utf7
from protocols.imap.wire.syntax import ATOM_CHAR, MONTHS

MAX_QUOTED = 1000  # octets; longer strings go as literals, as RFC 2683 §3.4.2.1 advises for what may be long

_ATOM = re.compile(ATOM_CHAR + b"++")
_NOT_QUOTABLE = re.compile(rb"[\x00\r\n]")
_NOT_QUOTABLE_7BIT = re.compile(rb"[\x00\r\n\x80-\xff]")
_NOT_IN_TEXT = re.compile("[^\x20-\x7e]")


def quoted_or_literal(data: bytes, utf8: bool = False) -> bytes:
    """A `string`. Octets above 127 are quoted only when they are UTF-8 and the client enabled it (RFC 6855 §3)."""
    if len(data) > MAX_QUOTED or (_NOT_QUOTABLE if utf8 else _NOT_QUOTABLE_7BIT).search(data) or not _is_text(data):
        return literal(data)
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def literal_header(size: int) -> bytes:
    """What precedes the octets of a literal, for writing them piece by piece."""
    return b"{%d}\r\n" % size


def literal(data: bytes) -> bytes:
    return literal_header(len(data)) + data


def astring(data: bytes, utf8: bool = False) -> bytes:
    """An `astring`: an atom where possible. NIL is quoted, it would read as no string at all."""
    if _ATOM.fullmatch(data) and data.upper() != b"NIL":
        return data
    return quoted_or_literal(data, utf8)


def nstring(data: bytes | None, utf8: bool = False) -> bytes:
    return b"NIL" if data is None else quoted_or_literal(data, utf8)


def mailbox_name(path: str, utf8: bool) -> bytes:
    """RFC 3501 §5.1: modified UTF-7; UTF-8 when UTF8=ACCEPT is enabled (RFC 6855 §3)."""
    return astring(path.encode("utf-8") if utf8 else utf7.encode(path), utf8)


def flag_list(names: Iterable[str]) -> bytes:
    return b"(" + " ".join(names).encode("ascii") + b")"


def internal_date(moment: datetime) -> bytes:
    """date-time in the zone that `moment` has (RFC 3501 §9); seconds of the zone are left out, fractions too.

    Raises:
        ValueError: `moment` is not aware.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("an internal date has a zone")
    minutes = int(offset.total_seconds() // 60)
    hours, rest = divmod(abs(minutes), 60)
    # date-day-fixed = (SP DIGIT) / 2DIGIT. Names of months are the RFC's, whatever the process's locale says.
    text = (
        f'"{moment.day:2}-{MONTHS[moment.month - 1]}-{moment.year:04} '
        f'{moment.hour:02}:{moment.minute:02}:{moment.second:02} {"-" if minutes < 0 else "+"}{hours:02}{rest:02}"'
    )
    return text.encode("ascii")


def capability(names: Iterable[str]) -> bytes:
    """Also the response code's content: `[CAPABILITY ...]`."""
    return b"CAPABILITY " + " ".join(names).encode("ascii")


def list_response(
    attributes: Iterable[str], path: str, utf8: bool, command: str = "LIST", extended: bytes = b""
) -> bytes:
    """RFC 3501 §7.2.2, §7.2.3. `command`: LIST or LSUB. An empty `path` is the answer to `LIST "" ""`: the root.
    `extended`: extended data items with their parentheses (RFC 5258 §6), if any."""
    name = mailbox_name(path, utf8) + (b" " + extended if extended else b"")
    return b'%b %b "%b" %b' % (command.encode("ascii"), flag_list(attributes), SEPARATOR.encode("ascii"), name)


def status_response(path: str, items: Iterable[tuple[str, int | bytes]], utf8: bool) -> bytes:
    """RFC 3501 §7.2.4; `items` in the order asked for; a value that is no number comes as its octets (`NIL`)."""
    values = b" ".join(b"%b %b" % (name.encode("ascii"), _value(value)) for name, value in items)
    return b"STATUS %b (%b)" % (mailbox_name(path, utf8), values)


def _value(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else b"%d" % value


def search_response(numbers: Iterable[int], modseq: int | None = None, name: str = "SEARCH") -> bytes:
    """RFC 3501 §7.2.5, RFC 5256 §5 (SORT); `modseq`: the highest of the messages found (RFC 7162 §3.1.5), None when
    not asked for."""
    found = " ".join([name, *map(str, numbers)]).encode("ascii")
    return found if modseq is None else found + b" (MODSEQ %d)" % modseq


def esearch_response(tag: str, items: Iterable[tuple[bytes, bytes]], *, uid: bool, where: bytes = b"") -> bytes:
    """RFC 4731 §3.2: `(TAG "...")` first, `UID` when the numbers are UIDs, then names and values. `where`: what follows
    the tag, with its space (RFC 7377 §2.1)."""
    head = b"ESEARCH (TAG %b%b)" % (quoted_or_literal(tag.encode("ascii")), where)
    return b" ".join((head, *((b"UID",) if uid else ()), *(b"%b %b" % item for item in items)))


def number_runs(numbers: Sequence[int]) -> bytes:
    """A sequence-set that keeps the order of `numbers` (RFC 5267 §3): runs upwards are ranges. Not empty."""
    runs: list[str] = []
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            runs.append(str(first) if first == last else f"{first}:{last}")
            first = number
        last = number
    runs.append(str(first) if first == last else f"{first}:{last}")
    return ",".join(runs).encode("ascii")


def thread_response(threads: Iterable[ThreadNode], number: Callable[[int], int]) -> Iterator[bytes]:
    """RFC 5256 §5, what follows `THREAD`, a thread at a time; none are no octets. `number`: what stands for a UID."""
    first = True
    for thread in threads:
        yield (b" " if first else b"") + _thread_list(thread, number)
        first = False


def _thread_list(thread: ThreadNode, number: Callable[[int], int]) -> bytes:
    """thread-list = "(" (thread-members / thread-nested) ")", without recursion: threads are deep."""
    # thread-members = nz-number *(SP nz-number) [SP thread-nested]; thread-nested = 2*thread-list
    pieces: list[str] = []
    stack: list[ThreadNode | None] = [thread]  # lists to write; None: the end of one
    while stack:
        node = stack.pop()
        if node is None:
            pieces.append(")")
            continue
        members = []
        while True:
            if node.uid:
                members.append(str(number(node.uid)))
            if len(node.children) != 1:
                break
            node = node.children[0]
        pieces.append("(" + " ".join(members))
        if node.children and members:
            pieces.append(" ")
        stack.append(None)
        stack.extend(reversed(node.children))
    return "".join(pieces).encode("ascii")


def sequence_set(numbers: Ranges) -> bytes:
    """RFC 3501 §9; `numbers` is not empty."""
    return str(numbers).encode("ascii")


def append_uid(uidvalidity: int, uids: Sequence[int]) -> bytes:
    """RFC 4315 §3: the content of `[APPENDUID ...]`; `uids` ascending."""
    return b"APPENDUID %d %b" % (uidvalidity, sequence_set(Ranges.from_sorted(uids)))


def copy_uid(uidvalidity: int, source: Sequence[int], target: Sequence[int]) -> bytes:
    """RFC 4315 §3: the content of `[COPYUID ...]`; both ascending and of one length, the i-th became the i-th."""
    pairs = sequence_set(Ranges.from_sorted(source)), sequence_set(Ranges.from_sorted(target))
    return b"COPYUID %d %b %b" % (uidvalidity, *pairs)


def id_response(fields: Iterable[tuple[str, str]]) -> bytes:
    """RFC 2971 §3.2; NIL without fields."""
    pairs = b" ".join(quoted_or_literal(text.encode("utf-8")) for field in fields for text in field)
    return b"ID (" + pairs + b")" if pairs else b"ID NIL"


def namespace(personal: str = "", others: str = "") -> bytes:
    """RFC 2342 §5: one personal namespace with that prefix, one of other users' mailboxes if it has one, and none that
    is nobody's."""
    return b"NAMESPACE %b %b NIL" % (_namespace(personal), _namespace(others) if others else b"NIL")


def _namespace(prefix: str) -> bytes:
    return b'((%b "%b"))' % (quoted_or_literal(prefix.encode("ascii")), SEPARATOR.encode("ascii"))


def acl(path: str, grants: Iterable[tuple[str, str]], utf8: bool) -> bytes:
    """RFC 4314 §3.6; `grants`: identifiers and rights."""
    return b"ACL " + b" ".join([mailbox_name(path, utf8), *(_word(each) for grant in grants for each in grant)])


def list_rights(path: str, identifier: str, rights: Sequence[str], utf8: bool) -> bytes:
    """RFC 4314 §3.7; `rights`: those that are required, then those that may be given, tied ones together."""
    return b"LISTRIGHTS " + b" ".join([mailbox_name(path, utf8), _word(identifier), *map(_word, rights)])


def my_rights(path: str, rights: str, utf8: bool) -> bytes:
    """RFC 4314 §3.8."""
    return b"MYRIGHTS " + mailbox_name(path, utf8) + b" " + _word(rights)


def _word(text: str) -> bytes:
    return astring(text.encode("utf-8"))


def quota(root: bytes, resources: Iterable[tuple[str, int, int]]) -> bytes:
    """RFC 9208 §4.2.1; `resources`: name, usage and limit of each."""
    listed = " ".join(f"{name} {usage} {limit}" for name, usage, limit in resources)
    return b"QUOTA %b (%b)" % (astring(root), listed.encode("ascii"))


def quota_root(path: str, roots: Iterable[bytes], utf8: bool) -> bytes:
    """RFC 9208 §4.2.2."""
    return b" ".join((b"QUOTAROOT", mailbox_name(path, utf8), *(astring(root) for root in roots)))


def resp_text(text: str, code: bytes = b"") -> bytes:
    """resp-text = ["[" resp-text-code "]" SP] text (RFC 3501 §9), for the end of OK, NO, BAD, BYE.

    Whatever `text` holds, it is one line of ASCII, is not empty and is not taken for a code.
    """
    safe = _NOT_IN_TEXT.sub("?", text).encode("ascii") or b"-"
    if code:
        return b"[" + code + b"] " + safe
    return b" " + safe if safe.startswith(b"[") else safe
