"""Submitted messages: other parsers find nobody else in From, and what is not changed stays as it is."""

from email.utils import getaddresses

from hypothesis import example, given
from hypothesis import strategies as st

from duckmail.mime.address import addresses
from duckmail.mime.outgoing import Malformed, edit, mailboxes, read, with_address

ATOM = st.text("abcXYZ019!#$%&'*+-/=^_`{|}~é", min_size=1, max_size=6)
QUOTED = st.text("ab @<>,;:()[].é", max_size=6).map(lambda text: f'"{text}"')
ADDRESS = st.builds(lambda local, domain: f"{local}@{domain}.example", ATOM | QUOTED, ATOM)
NAME = st.lists(ATOM | QUOTED, max_size=3).map(" ".join)
COMMENT = st.sampled_from(["", " ", "(c)", " (a@b (c@d)) ", '("\\))'])
MAILBOX = st.one_of(
    st.builds(lambda before, address, behind: (f"{before}{address}{behind}", address), COMMENT, ADDRESS, COMMENT),
    st.builds(lambda name, address, behind: (f"{name} <{address}>{behind}", address), NAME, ADDRESS, COMMENT),
)
SIGNS = [*'<>,;:"()\\ \t@.x[]é', "a@b.example", "c@d.example", "<a@b.example>", "=?utf-8?q?x?="]
PIECES = st.lists(st.sampled_from(SIGNS), max_size=12).map("".join)


@given(st.lists(MAILBOX, min_size=1, max_size=4))
def test_what_is_written_properly_is_read(written: list[tuple[str, str]]) -> None:
    body = ",".join(text for text, _ in written)
    assert mailboxes(body.encode()) == [address for _, address in written]


def bare(address: str) -> str:
    """Without what only quoting differs in."""
    return "".join(character for character in address if character not in '"\\ ')


@given(PIECES)
@example("a@b.example <c@d.example>")
@example('"a@b.example" <c@d.example>')
@example("a@b.example (c@d.example)")
def test_other_parsers_find_nothing_else(body: str) -> None:
    """Whoever reads the field in another way finds no address that was not looked at."""
    try:
        found = {bare(address) for address in mailboxes(body.encode())}
    except Malformed:
        return
    theirs = {bare(address) for _, address in getaddresses([body]) if "@" in address}
    assert theirs <= found
    tolerant = {
        bare(f"{entry.mailbox.decode()}@{entry.host.decode()}")
        for entry in addresses(body.encode())
        if entry.mailbox is not None and entry.host
    }
    assert tolerant
    assert tolerant <= found


@given(st.binary(max_size=60) | PIECES.map(str.encode))
def test_a_new_address_is_the_only_one(body: bytes) -> None:
    line = body.replace(b"\r", b"").replace(b"\n", b"")
    written = with_address(line, "anna@example.com")
    assert mailboxes(written)[-1] == "anna@example.com"
    assert set(mailboxes(written)) == {"anna@example.com"}


NAMES = ["From", "To", "Bcc", "bcc", "Resent-Bcc", "Subject", "X-Bcc", "Date"]
LINE = st.builds(
    lambda name, blank, text, more: (
        f"{name}{blank}:{text}\r\n{''.join(f' {line}' + chr(13) + chr(10) for line in more)}"
    ),
    st.sampled_from(NAMES),
    st.sampled_from(["", " "]),
    st.text("ab: é", max_size=8),
    st.lists(st.text("cd: ", max_size=5), max_size=2),
)
MESSAGE = st.builds(
    lambda lines, body: "".join(lines).encode() + b"\r\n" + body, st.lists(LINE, min_size=1, max_size=8), st.binary()
).filter(lambda raw: b"\0" not in raw)


@given(MESSAGE, st.sets(st.sampled_from([b"bcc", b"date", b"resent-bcc"])), st.sampled_from([b"", b"New: x\r\n"]))
def test_an_edit_changes_nothing_else(raw: bytes, drop: set[bytes], add: bytes) -> None:
    message = read(raw)
    changed = edit(bytearray(raw), message, frozenset(drop), {}, add)
    assert changed == edit(raw, message, frozenset(drop), {}, add)
    end = len(message.header)
    kept = [raw[field.start : field.end] for field in message.fields if field.name not in drop]
    assert bytes(changed) == b"".join(kept) + add + raw[end:]


@given(st.binary(max_size=200))
def test_reading_raises_only_malformed(raw: bytes) -> None:
    try:
        message = read(raw)
    except Malformed:
        return
    assert b"".join(message.header[field.start : field.end] for field in message.fields) == message.header
    assert raw.startswith(message.header + b"\r\n")
