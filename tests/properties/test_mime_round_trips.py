"""Properties of the MIME package: round trips, totality, pieces that give the whole."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from duckmail.mime import charsets
from duckmail.mime.address import _Parser, addresses
from duckmail.mime.header import decode, fields, select_fields
from duckmail.mime.imapdata import string
from duckmail.mime.index import Index, Kind, Node
from duckmail.mime.scan import scan
from duckmail.mime.transfer import decoded
from tests.fuzz import fuzz_mime
from tests.support import mimegrammar

QUICK = settings(max_examples=100, deadline=None)
word = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100)
offset = st.integers(0, 2**32 - 1)
node = st.builds(
    Node, st.integers(-1, 2**31 - 1), st.sampled_from(Kind), offset, offset, offset, offset, word, word, word
)

# Messages made of what matters, far more often broken than whole.
FRAGMENTS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"--", b"--b", b"--b--", b"\r\n--b\r\n", b"\n--b--\n", b"--c",
    b"\r\n--c\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"Content-Type: multipart/digest; boundary=c\n\n",
    b"Content-Type: multipart/x; boundary=b--\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: text/html\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Subject: x\r\n", b"To: a, g: b <c@d>;\r\n", b"text", b"\0", b"\xff",
    b":", b"x: ",
)  # fmt: skip
messages = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=5), max_size=40).map(b"".join)


@given(st.lists(node, min_size=1, max_size=30))
@QUICK
def test_index_round_trip(nodes: list[Node]) -> None:
    index = Index(nodes)
    data = index.to_bytes()
    assert Index.from_bytes(data) == index
    assert Index.from_bytes(data).to_bytes() == data
    assert all(type(node.kind) is Kind for node in Index.from_bytes(data).nodes)


@given(messages)
@settings(max_examples=400, deadline=None)
@example(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\r\n--b--")
def test_everything_holds_for_any_message(raw: bytes) -> None:
    fuzz_mime.target(raw)


@given(messages, messages)
@QUICK
def test_what_follows_the_close_delimiter_changes_no_part(raw: bytes, epilogue: bytes) -> None:
    whole = b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n" + raw + b"\r\n--outer--"
    parts = scan(whole).nodes[1:]
    longer = scan(whole + b"\r\n" + epilogue)
    assert longer.nodes[1:] == parts
    assert longer.nodes[0].body_end == len(whole) + 2 + len(epilogue)


@given(st.binary(max_size=200))
@QUICK
def test_string_round_trip(value: bytes) -> None:
    found = mimegrammar.envelope(b"(NIL " + string(value) + b" NIL NIL NIL NIL NIL NIL NIL NIL)")[1]
    assert found == (value.replace(b"\0", b" "))


@given(
    st.lists(st.sampled_from((*b'ab.@<>(),;:"\\[] ', *b"\t=?")).map(lambda octet: bytes((octet,))), max_size=60).map(
        b"".join
    )
)
@settings(max_examples=500, deadline=None)
@example(b'a b <c@d>, "e" <f@g>, h@i, ')
@example(b"a <b@c>, (d) e@f, g: h@i, j <k@l>;, m@n")
def test_address_shortcuts_change_nothing(value: bytes) -> None:
    assert addresses(value) == _Parser(value).run(shortcuts=False)


field_names = st.sampled_from([b"A", b"a", b"B-c", b"Ab"])
blocks = st.lists(
    st.tuples(
        field_names,
        st.sampled_from([b": x", b":", b" : y\r\n z", b":\n\t", b": a: b"]),
        st.sampled_from([b"\r\n", b"\n"]),
    ).map(b"".join),
    max_size=12,
).map(b"".join)


@given(blocks, st.frozensets(field_names))
@QUICK
def test_selection_and_its_opposite_are_the_whole(block: bytes, names: frozenset[bytes]) -> None:
    wanted = {name.lower() for name in names}
    chosen = [field.raw for field in fields(block) if field.name.lower() in wanted]
    rest = [field.raw for field in fields(block) if field.name.lower() not in wanted]
    assert select_fields(block + b"\r\n", names, invert=False) == b"".join(chosen) + b"\r\n"
    assert select_fields(block + b"\r\n", names, invert=True) == b"".join(rest) + b"\r\n"


@given(st.binary(max_size=300), st.sampled_from(sorted(charsets._CODECS)), st.data())
@settings(max_examples=300, deadline=None)
def test_charsets_are_total_and_pieces_give_the_whole(octets: bytes, name: str, data: st.DataObject) -> None:
    whole = charsets.decode(octets, name)
    whole.encode()
    decoder = charsets.decoder(name)
    cut = data.draw(st.integers(0, len(octets)))
    pieces = decoder.decode(octets[:cut]) + decoder.decode(octets[cut:]) + decoder.decode(b"", True)
    pieces.encode()
    if charsets._CODECS[name] not in ("", "utf_7"):  # those two decide by what has come so far
        assert pieces == whole


@given(st.binary(max_size=400))
@QUICK
def test_decode_is_total(value: bytes) -> None:
    decode(value).encode()
    decode(b"=?utf-8?q?" + value + b"?= =?utf-7?b?" + value + b"?=").encode()


@given(st.binary(max_size=2000), st.sampled_from(["base64", "quoted-printable", "7bit", "x"]))
@QUICK
def test_transfer_decoding_is_total(octets: bytes, encoding: str) -> None:
    assert len(b"".join(decoded(octets, 0, len(octets), encoding))) <= len(octets)
