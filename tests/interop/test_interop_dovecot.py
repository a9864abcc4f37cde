"""What the IMAP of Dovecot says of the corpus: BODYSTRUCTURE, ENVELOPE and every section, beside our own answers.

Both say the same of proper mail. Where they differ, it is a way of speaking that `agreed` levels out, or a row of
DIFFERENT with the sentence that we follow.
"""

import asyncio
import imaplib
import re
from collections.abc import Iterator

import pytest

from bench.servers.base import PASSWORD, NotInstalled, new_folder, remove_folder
from bench.servers.base import Account as DovecotAccount
from bench.servers.dovecot import Dovecot
from tests.interop.test_interop_corpus import GOLDEN, append
from tests.support.corpus import corpus
from tests.support.imapvalues import Value, rows
from tests.support.net import client_context
from tests.support.server_process import CLIENT_SECONDS, HOST, ServerProcess

US_ASCII = (b"charset", b"us-ascii")
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")

_DEFAULT = (
    "RFC 2045 §5.2: what has no Content-Type, or one with a syntax error, is text/plain in us-ascii; they name no type"
)
_BOUNDARY = (
    "RFC 2046 §5.1.1: a boundary is required in multipart; without one the type is a syntax error, and RFC 2045 §5.2 "
    "makes that text/plain; they make up an empty part"
)
_NO_PART = (
    "RFC 9051 §9, body-type-mpart: 1*body. There is no delimiter, so there is no part; ours holds what there is, and "
    "nothing is lost, theirs is empty"
)
_OUTER_WINS = (
    "RFC 2046 §5.1.2: a delimiter of the outer level ends the inner one, whatever that is waiting for; both have the "
    "same boundary here, which §5.1.1 forbids"
)
_WHOLE_LINE = (
    "RFC 2046 §5.1.1: a delimiter line consists entirely of two hyphens, the boundary and white space; they take a "
    "line that only begins so"
)
_PARAMETERS = "RFC 9051 §7.5.2: servers SHOULD decode parameters with continuations and character sets; they do not"
_HEADER_ENDS = (
    "RFC 5322 §2.1: a header is lines with a certain syntax, then an empty line. Here a line without that syntax comes "
    "first: it begins our body, and theirs only begins behind the next empty line, so that the line is in no body"
)
_UNFOLDED = "RFC 5322 §2.2.3: unfolding removes the CRLF before white space, no more; they make one blank of it"
_ONE_CRLF = (
    "RFC 9051 §6.4.5.1: the blank line is part of a header's fetch; with RFC 2046 §5.1.1 it could as well be the "
    "delimiter's CRLF, since the body behind it is empty"
)
# Message -> why the answers differ there.
DIFFERENT = {
    "cpython-msg_12": _ONE_CRLF,
    "cpython-msg_14": _DEFAULT,
    "cpython-msg_15": _OUTER_WINS,
    "cpython-msg_17": _NO_PART,
    "cpython-msg_19": _HEADER_ENDS,
    "cpython-msg_25": _BOUNDARY,
    "cpython-msg_27": _UNFOLDED,
    "cpython-msg_29": _PARAMETERS,
    "cpython-msg_31": _NO_PART,
    "cpython-msg_32": _PARAMETERS,
    "cpython-msg_33": _PARAMETERS,
    "cpython-msg_35": _HEADER_ENDS,
    "cpython-msg_38": _WHOLE_LINE,
    "cpython-msg_39": _OUTER_WINS,
    "cpython-msg_41": _BOUNDARY,
    "cpython-msg_47": _HEADER_ENDS,
    "06-embedded-multipart": "RFC 2046 §5.1.1: the CRLF before a delimiter is the delimiter's; they count it twice",
    "08-embedded-base64": "RFC 2046 §5.2.1: no encoding but 7bit, 8bit and binary is permitted for message/rfc822; "
    "RFC 2045 §6.4: what is encoded otherwise is application/octet-stream",
    "10-multipart-without-boundary": _BOUNDARY,
    "12-multipart-wrong-boundary": _NO_PART,
    "14-boundary-with-same-prefix": _WHOLE_LINE,
    "16-same-boundary-twice": _OUTER_WINS,
    "21-no-header": _HEADER_ENDS,
    "22-missing-separator": _HEADER_ENDS,
    "24-empty-parts": _ONE_CRLF,
    "25-encoded-words": "RFC 2047 §5: an encoded word in a phrase has no comma; ours keeps the one recipient that was "
    "meant, theirs makes two",
    "26-rfc2231-parameters": _PARAMETERS,
    "28-odd-addresses": "RFC 5322 §4.4: addresses of obsolete and wrong forms: ours goes on behind them, theirs ends",
    "30-garbage-content-types": _DEFAULT,
    "31-folding-and-comments": _UNFOLDED,
    "32-repeated-fields": "RFC 5322 §3.6: Subject occurs once; ours is the first, theirs the last",
    "35-message-global": "RFC 9051 §9, media-message: of message/global there are envelope and body, as of "
    "message/rfc822; for them it is a file",
    "36-delimiter-ends-header": _ONE_CRLF,
}


def messages() -> Iterator[tuple[str, bytes]]:
    """(name, octets): with line ends that every server keeps, and without NUL, which Dovecot does not. Messages that
    differ in their charset alone have one structure."""
    some = ((name, octets) for name, octets in corpus() if not name.startswith("charset-") or "-utf-8-" in name)
    gathered = [*some, *((file.stem, file.read_bytes()) for file in sorted(GOLDEN.glob("*.eml")))]
    made = {name: BARE.sub(b"\r\n", octets).replace(b"\0", b"?") for name, octets in gathered if octets}
    first = {octets: name for name, octets in reversed(made.items())}
    yield from ((name, octets) for name, octets in made.items() if first[octets] == name)


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    folder = new_folder("dovecot", None)
    server = Dovecot(folder)
    try:
        with asyncio.Runner() as runner:
            runner.run(server.start())
            runner.run(server.add_accounts([DovecotAccount("duck")]))
            yield server
            runner.run(server.stop())
    except NotInstalled as reason:
        pytest.skip(str(reason))
    finally:
        remove_folder(folder)


def fetch(client: imaplib.IMAP4, items: str) -> dict[int, dict[bytes, Value]]:
    """Of all messages, by UID."""
    status, data = client.uid("FETCH", "1:*", f"({items})")
    assert status == "OK"
    return rows(data)


def parts_of(structure: Value, prefix: str = "") -> Iterator[tuple[str, list[Value]]]:
    """Number and structure of each part of a message, those of messages in it included (RFC 9051 §6.4.5.1)."""
    assert isinstance(structure, list)
    if isinstance(structure[0], list):
        parts = [part for part in structure[: _count(structure)] if isinstance(part, list)]
        numbered = [(f"{prefix}{number}", part) for number, part in enumerate(parts, 1)]
    else:
        numbered = [(f"{prefix}1", structure)]
    for path, part in numbered:
        yield path, part
        if isinstance(part[0], list):
            yield from parts_of(part, f"{path}.")
        elif _is_message(part):
            yield from parts_of(part[8], f"{path}.")


def _count(structure: list[Value]) -> int:
    """Of the parts that a multipart begins with."""
    return next(index for index, part in enumerate(structure) if not isinstance(part, list))


def sections(structure: Value) -> Iterator[str]:
    """Every section there is of a message with this BODYSTRUCTURE."""
    yield from ("HEADER", "TEXT")
    for path, part in parts_of(structure):
        yield from (path, f"{path}.MIME")
        if _is_message(part):
            yield from (f"{path}.HEADER", f"{path}.TEXT")


def _is_message(structure: list[Value]) -> bool:
    kind = [part.lower() for part in structure[:2] if isinstance(part, bytes)]
    messages = ([b"message", b"rfc822"], [b"message", b"global"])
    return kind in messages and len(structure) > 9 and isinstance(structure[8], list)


class Answers:
    """By name of the message: items and sections."""

    def __init__(self, client: imaplib.IMAP4) -> None:
        sent = list(messages())
        for name, octets in sent:
            assert append(client, "INBOX", octets), name
        client.select("INBOX", readonly=True)
        described = fetch(client, "UID RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[]")
        self.items = {name: row for (name, _), row in zip(sent, described.values(), strict=True)}
        self.uids = {name: uid for (name, _), uid in zip(sent, described, strict=True)}
        self.sections: dict[str, dict[bytes, Value]] = {}
        for name, uid in self.uids.items():
            wanted = " ".join(f"BODY.PEEK[{section}]" for section in sections(self.items[name][b"BODYSTRUCTURE"]))
            status, data = client.uid("FETCH", str(uid), f"(UID {wanted})")
            assert status == "OK", name
            self.sections[name] = rows(data)[uid]


@pytest.fixture(scope="module")
def answers(server: ServerProcess, dovecot: Dovecot) -> tuple[Answers, Answers]:
    """Of the server, and of Dovecot."""
    account = server.add_account("beside-dovecot")
    found = []
    for port, user, password in (
        (server.imap_port, account.address, account.password),
        (dovecot.imap, DovecotAccount("duck").address, PASSWORD),
    ):
        with imaplib.IMAP4(HOST, port, timeout=CLIENT_SECONDS) as client:
            client.starttls(client_context())
            client.login(user, password)
            found.append(Answers(client))
    return found[0], found[1]


def agreed(item: bytes, value: Value) -> Value:
    """An answer without the differences that are ways of speaking."""
    if item == b"ENVELOPE":
        return _addresses(value)
    return _structure(value) if item in (b"BODY", b"BODYSTRUCTURE") else value


def _addresses(value: Value) -> Value:
    # RFC 9051 §7.5.2: NIL as a host is the syntax of groups. What is not there is "" here, a word in capitals there.
    if isinstance(value, list):
        return [_addresses(part) for part in value]
    return b"" if value in (b"MISSING_DOMAIN", b"MISSING_MAILBOX") else value


def _structure(structure: Value) -> Value:
    """RFC 2045 §2, §5.1, §6.1, RFC 2183 §2: types, encodings and names of parameters have no case. Lines are apart."""
    if not isinstance(structure, list) or not structure:
        return structure
    if isinstance(structure[0], list):
        count = _count(structure)
        parts: list[Value] = [_structure(part) for part in structure[:count]]
        subtype, *extension = structure[count:]
        return [*parts, _lower(subtype), *[_parameters(each) for each in extension[:1]], *_extension(extension[1:])]
    kind, subtype, parameters, identifier, description, encoding, size, *rest = structure
    text = _lower(kind) == b"text"
    basic = [_lower(kind), _lower(subtype), _parameters(parameters, text=text), identifier, description]
    basic += [_lower(encoding), size]
    if _is_message(structure):
        envelope, body, _lines, *extension = rest
        return [*basic, _addresses(envelope), _structure(body), *extension[:1], *_extension(extension[1:])]
    extension = rest[1:] if text else rest
    return [*basic, *extension[:1], *_extension(extension[1:])]


def _extension(values: list[Value]) -> list[Value]:
    """`values`: disposition, language, location; not all may be there."""
    found = list(values)
    if found and isinstance(found[0], list):
        kind, parameters = found[0]
        found[0] = [_lower(kind), _parameters(parameters)]
    # RFC 9051 §9, body-fld-lang: a list of one and its string are the same.
    if len(found) > 1 and isinstance(found[1], list) and len(found[1]) == 1:
        found[1] = found[1][0]
    return found


def _parameters(values: Value, *, text: bool = False) -> Value:
    if not isinstance(values, list):
        return values
    pairs = [(_lower(name), value) for name, value in zip(values[::2], values[1::2], strict=True)]
    # RFC 2046 §4.1.2, RFC 6657 §3: us-ascii is the default of text/plain, other types have their own. They say it of
    # every text that does not say one itself.
    kept = [part for pair in pairs for part in pair if not (text and (pair[0], _lower(pair[1])) == US_ASCII)]
    return kept or None


def _lower(value: Value) -> Value:
    return value.lower() if isinstance(value, bytes) else value


def _different(one: Answers, other: Answers, name: str) -> list[str]:
    """Items and sections of a message whose answers differ."""
    found = [
        item.decode()
        for item, value in one.items[name].items()
        if item != b"UID" and agreed(item, value) != agreed(item, other.items[name][item])
    ]
    keys = dict.fromkeys([*one.sections[name], *other.sections[name]])
    found += [
        key.decode() for key in keys if key != b"UID" and one.sections[name].get(key) != other.sections[name].get(key)
    ]
    return found


def test_the_answers_are_those_of_dovecot(answers: tuple[Answers, Answers]) -> None:
    ours, theirs = answers
    assert ours.items.keys() == theirs.items.keys()
    different = {name: found for name in ours.items if (found := _different(ours, theirs, name))}
    assert {name: found for name, found in different.items() if name not in DIFFERENT} == {}
    # A row that explains nothing any more goes.
    assert [name for name in DIFFERENT if name in ours.items and name not in different] == []


def test_the_octets_are_what_was_sent(answers: tuple[Answers, Answers]) -> None:
    for name, octets in messages():
        for answer in answers:
            assert answer.items[name][b"BODY[]"] == octets, name


def lines(structure: Value) -> Iterator[tuple[bytes, int]]:
    """Sections of texts and messages, and how many lines they are said to have."""
    for path, part in parts_of(structure):
        said = part[9] if _is_message(part) else part[7] if _lower(part[0]) == b"text" else None
        if isinstance(said, int):
            yield f"BODY[{path}]".encode(), said


def test_lines(answers: tuple[Answers, Answers]) -> None:
    """RFC 9051 §7.5.2: the size "in text lines". What stands behind the last CRLF is a line here, and not there."""
    ours, theirs = answers
    wrong = []
    for name in ours.items:
        for answer in (ours, theirs):
            for section, said in lines(answer.items[name][b"BODYSTRUCTURE"]):
                octets = answer.sections[name][section]
                assert isinstance(octets, bytes)
                rest = answer is ours and octets != b"" and not octets.endswith(b"\n")
                if said != octets.count(b"\n") + rest:
                    wrong.append(f"{name} {section.decode()}: {said}")
    assert wrong == [], "\n".join(map(str, wrong))
