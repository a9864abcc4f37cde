"""Mail that is encrypted to its owner's key: stored, uploaded and sent on, and read with the key alone."""

import pytest
from pysequoia import Tsk

from duckmail.app.listeners import LMTP
from duckmail.mime.pgp import enclosed, is_encrypted
from tests.support.house import House
from tests.support.pgp import opened, public

TEXT = "the secret is héron\r\n"
MAIL = (
    "From: Bert <bert@example.net>\r\nTo: anna@example.com\r\nSubject: hello\r\nMessage-ID: <1@example.net>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT
)
ARMORED = b"-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n-----END PGP MESSAGE-----\r\n"


@pytest.fixture(scope="module")
def key() -> Tsk:
    return Tsk.generate("Anna <anna@example.com>")


async def deliver(house: House, mail: str = MAIL) -> None:
    lines = await house.connect(LMTP)
    await lines.ask("LHLO relay.example", "250 ")
    await lines.ask("MAIL FROM:<bert@example.net>")
    assert (await lines.ask("RCPT TO:<anna@example.com>")).startswith("250")
    await lines.ask("DATA")
    assert (await lines.ask(mail + ".")).startswith("250")


async def fetched(house: House, mailbox: str = "INBOX") -> bytes:
    lines, _ = await house.imap()
    await lines.ask(f"b SELECT {mailbox}", "b OK")
    said = await lines.ask("c FETCH 1 BODY.PEEK[]", "* 1 FETCH")
    size = int(said.rpartition("{")[2].rstrip("}"))
    found = b""
    while len(found) < size:
        found += (await lines.line()).encode("latin-1") + b"\r\n"
    return found


async def test_delivered_by_lmtp_and_read_by_imap(house: House, key: Tsk) -> None:
    user = await house.make_user()
    reply = await house.call("PUT", f"/users/{user}", {"pubKey": public(key), "encryptMessages": True})
    assert reply.status == 200, reply.text
    await deliver(house)
    raw = await fetched(house)
    assert b"secret" not in raw
    assert b"\r\nSubject: hello\r\n" in raw
    inside = opened(raw, key)
    assert inside == MAIL[MAIL.index("Content-Type") :].encode()
    await house.call("PUT", f"/users/{user}", {"encryptMessages": False})


async def test_the_key_is_checked_and_told(house: House, key: Tsk) -> None:
    user = await house.make_user()
    path = f"/users/{user}"
    other = public(key).replace("\n", "", 3)
    for wrong in ("x", other, str(key)):
        reply = await house.call("PUT", path, {"pubKey": wrong})
        assert (reply.status, reply.json["code"]) == (400, "InputValidationError")
        assert "Stack" not in reply.text
    assert (await house.call("GET", path)).json["keyInfo"] is False
    await house.call("PUT", path, {"pubKey": public(key), "encryptForwarded": True})
    found = (await house.call("GET", path)).json
    fingerprint = key.extract_certificate().fingerprint
    assert found["keyInfo"] == {"name": "Anna", "address": "anna@example.com", "fingerprint": fingerprint}
    assert (found["pubKey"], found["encryptMessages"], found["encryptForwarded"]) == (public(key), False, True)
    await house.call("PUT", path, {"pubKey": ""})
    assert (await house.call("GET", path)).json["keyInfo"] is False


async def test_what_is_sent_on(house: House, key: Tsk) -> None:
    await house.make_user(targets=("c@example.net",), pub_key=public(key), encrypt_forwarded=True)
    await deliver(house)
    assert b"secret" in await fetched(house)
    store = house.services.store
    (document,) = await store.database["queue"].find({}).to_list(None)
    contents = await store.contents.load([str(document["content"])])
    sent = b"".join([piece async for piece in contents[str(document["content"])].read()])
    assert b"secret" not in sent
    assert opened(sent, key).endswith(TEXT.encode())


async def test_uploads_but_no_drafts(house: House, key: Tsk) -> None:
    user = await house.make_user(pub_key=public(key), encrypt_messages=True)
    boxes = {row["path"]: row["id"] for row in (await house.call("GET", f"/users/{user}/mailboxes")).json["results"]}
    for path, draft in (("INBOX", False), ("Drafts", True)):
        body = {"raw": MAIL, "draft": draft}
        reply = await house.call("POST", f"/users/{user}/mailboxes/{boxes[path]}/messages", body)
        assert reply.status == 200, reply.text
    assert opened(await fetched(house), key).endswith(TEXT.encode())
    assert b"secret" in await fetched(house, "Drafts")
    answer = (await house.call("GET", f"/users/{user}/mailboxes/{boxes['INBOX']}/messages/1")).json
    assert answer["encrypted"] is True


async def test_what_is_encrypted_stays_as_it_is(house: House, key: Tsk) -> None:
    user = await house.make_user(pub_key=public(key), encrypt_messages=True)
    mail = enclosed(MAIL.encode(), b"-----BEGIN PGP MESSAGE-----\n\nx\n-----END PGP MESSAGE-----")
    await deliver(house, mail.decode())
    assert (await fetched(house)).endswith(mail)
    assert user == (await house.services.auth.login("anna", "secretvalue", "imap", "", "imap")).user


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(b"Content-Type: multipart/encrypted; a=b\r\n\r\nx", True, id="pgp"),
        pytest.param(b"A: b\r\ncontent-type:\r\n application/pkcs7-mime\r\n\r\nx", True, id="s-mime"),
        pytest.param(b"A: b\r\n\r\nContent-Type: multipart/encrypted\r\n", False, id="in-the-body"),
        pytest.param(b"A: b\r\n Content-Type: multipart/encrypted\r\n\r\n", False, id="in-another-field"),
        pytest.param(b"\r\nContent-Type: multipart/encrypted", False, id="no-header"),
        pytest.param(b"A: b\r\n\r\n\r\n" + ARMORED, True, id="inline"),
        pytest.param(
            b"A: b\r\n\r\n" + ARMORED + b"more",
            False,
            id="and-more",
        ),
        pytest.param(b"A: b\r\n\r\nsee " + ARMORED, False, id="within"),
        pytest.param(b"A: b\r\n\r\n" + 2 * ARMORED, False, id="two"),
        pytest.param(b"A: b\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n", False, id="no-end"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_is_encrypted(raw: bytes, found: bool) -> None:
    assert is_encrypted(raw) is found
