"""What becomes of a submitted message: its octets, its envelope, the queue, the copy, the counting."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
from bson.objectid import ObjectId

from duckmail.errors import (
    AccountDisabled,
    CommitUnknown,
    DailyLimitReached,
    InvalidInput,
    LimitReached,
    NotFound,
    NotPermitted,
    OverQuota,
    Unavailable,
)
from duckmail.model.queue import NOTIFY_DEFAULT, Notify, Origin, OutboundEnvelope, QueueRecipient, State
from duckmail.services import submission
from duckmail.services.queue.queue import NewMail, SentCopy
from duckmail.services.sendinglimit import recipients_key
from duckmail.services.submission import Arrival, Policy, Submission
from tests.support.submission import HOSTNAME, SubmissionHouse, open_submission, shared_submission

ID = b"Message-ID: <1@example.com>\r\n"
DATE = b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\n"
FROM = b"From: anna@example.com\r\n"
WHOLE = FROM + ID + DATE + b"To: x@remote.example\r\nSubject: hi\r\n\r\nbody\r\n"
ARRIVAL = Arrival("ESMTPSA", "192.0.2.7", "[10.1.2.3]", "c1")
TO = [QueueRecipient("x@remote.example")]


@pytest.fixture(scope="module")
async def shared_house(mongo_uri: str) -> AsyncIterator[SubmissionHouse]:
    async with shared_submission(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def house(shared_house: SubmissionHouse) -> SubmissionHouse:
    """With an empty queue, and nothing counted."""
    await shared_house.store.database["queue"].delete_many({})
    await shared_house.store.counters.clear(recipients_key(shared_house.ids["anna"]))
    await shared_house.change("anna", upload_sent_messages=False, recipients=0, quota=0)
    return shared_house


async def submit(
    house: SubmissionHouse,
    raw: bytes = WHOLE,
    recipients: list[QueueRecipient] | None = None,
    service: Submission | None = None,
    sender: str = "anna@example.com",
    arrival: Arrival = ARRIVAL,
    **envelope: object,
) -> str:
    service = service or house.submission()
    who = await service.sender(house.principal("anna"), sender, arrival)
    given = OutboundEnvelope("ignored@example.com", **envelope)  # type: ignore[arg-type]
    return await service.submit(who, given, recipients or TO, bytearray(raw))


async def octets(house: SubmissionHouse, raw: bytes, **options: object) -> bytes:
    """The one message in the queue, without its prefix."""
    await submit(house, raw, **options)  # type: ignore[arg-type]
    [sent] = await house.queued()
    return sent.octets.removeprefix(sent.message.prefix)


async def test_what_is_queued(house: SubmissionHouse) -> None:
    recipients = [
        QueueRecipient("x@remote.example", Notify.SUCCESS | Notify.FAILURE, "rfc822;x+2By@remote.example"),
        QueueRecipient("bert@example.com"),
    ]
    queued = await submit(house, WHOLE, recipients, ret="HDRS", envid="a+2Bb", requiretls=True)
    [sent] = await house.queued()
    assert sent.message.id == queued
    assert sent.message.user == house.ids["anna"]
    assert sent.message.origin is Origin.SUBMISSION
    assert sent.message.envelope == OutboundEnvelope(
        "anna@example.com", "7BIT", smtputf8=False, requiretls=True, ret="HDRS", envid="a+2Bb"
    )
    assert [(one.address, one.notify, one.orcpt, one.state) for one in sent.message.recipients] == [
        ("x@remote.example", Notify.SUCCESS | Notify.FAILURE, "rfc822;x+2By@remote.example", State.WAITING),
        ("bert@example.com", NOTIFY_DEFAULT, "", State.WAITING),
    ]
    assert sent.octets == sent.message.prefix + WHOLE


async def test_received_says_nothing_of_the_client(house: SubmissionHouse) -> None:
    await submit(house)
    [sent] = await house.queued()
    found = re.fullmatch(
        r"Received: from client \(authenticated\)\r\n\tby mx\.example with ESMTPSA id ([0-9a-f]{32});\r\n\t(.+)\r\n",
        sent.message.prefix.decode(),
    )
    assert found is not None
    assert abs(parsedate_to_datetime(found[2]) - sent.message.created) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("arrival", "expected"),
    [
        pytest.param(Arrival("ESMTPA", "192.0.2.7", "pc.example"), "pc.example ([192.0.2.7])", id="ipv4"),
        pytest.param(Arrival("ESMTPA", "2001:db8::1", "[10.0.0.1]"), "[10.0.0.1] ([IPv6:2001:db8::1])", id="ipv6"),
        pytest.param(Arrival("ESMTPA", "", "pc"), "pc", id="unix-socket"),
        pytest.param(Arrival("ESMTPA", "192.0.2.7", "a (b) by c"), "unknown ([192.0.2.7])", id="name-with-blanks"),
        pytest.param(Arrival("ESMTPA", "192.0.2.7", "a;\r\nX: y"), "unknown ([192.0.2.7])", id="name-with-a-line"),
        pytest.param(Arrival("ESMTPA", "192.0.2.7", ""), "unknown ([192.0.2.7])", id="no-name"),
    ],
)
async def test_received_tells_the_client_where_configured(
    house: SubmissionHouse, arrival: Arrival, expected: str
) -> None:
    await submit(house, service=house.submission(client_address=True), arrival=arrival)
    [sent] = await house.queued()
    assert sent.message.prefix.decode().startswith(f"Received: from {expected}\r\n\tby mx.example with ESMTPA id ")


async def test_missing_date_and_message_id_are_added(house: SubmissionHouse) -> None:
    sent = await octets(house, FROM + b"Subject: hi\r\n\r\nbody\r\n")
    found = re.fullmatch(
        re.escape(FROM) + rb"Subject: hi\r\nDate: ([^\r]+)\r\nMessage-ID: <[^@>\s]+@mx\.example>\r\n\r\nbody\r\n", sent
    )
    assert found is not None
    assert parsedate_to_datetime(found[1].decode()).tzinfo is not None


async def test_an_empty_message_id_is_a_missing_one(house: SubmissionHouse) -> None:
    sent = await octets(house, FROM + DATE + b"Message-Id: \r\n\r\nbody\r\n")
    assert sent.lower().count(b"message-id:") == 1
    assert b"@mx.example>\r\n\r\nbody" in sent


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Bcc: secret@x.example\r\n", id="bcc"),
        pytest.param(b"bCC :\r\n\tsecret@x.example,\r\n secret@y.example\r\n", id="folded"),
        pytest.param(b"Resent-Bcc: secret@x.example\r\n", id="resent-bcc"),
        pytest.param(b"Return-Path: <secret@x.example>\r\n", id="return-path"),
    ],
)
async def test_what_nobody_may_see_is_taken_out(house: SubmissionHouse, line: bytes) -> None:
    assert await octets(house, line + FROM + line + ID + DATE + b"\r\n" + line) == FROM + ID + DATE + b"\r\n" + line


ODD = (
    FROM + b"Subject:  odd \r\n\t\r\nX-8BIT: \xe9\xff\r\nbcc-x: kept\r\n" + ID + DATE + b"\r\n"
    b".\r\n..\r\n" + b"x" * 5000 + b"\r\n\xff\xfe no charset \r\n\r\n no last line end"
)


@pytest.mark.parametrize("size", [0, 300_000])
async def test_everything_else_stays_as_it_is(house: SubmissionHouse, size: int) -> None:
    raw = ODD + b"y" * size
    assert await octets(house, raw) == raw


@pytest.mark.parametrize(
    ("raw", "recipient", "asked", "body", "smtputf8"),
    [
        pytest.param(WHOLE, "x@remote.example", False, "7BIT", False, id="ascii"),
        pytest.param(WHOLE, "x@remote.example", True, "7BIT", False, id="smtputf8-asked-in-vain"),
        pytest.param(WHOLE + b"\xe9", "x@remote.example", False, "8BITMIME", False, id="8-bit-body"),
        pytest.param(WHOLE + b"\xe9", "x@remote.example", True, "8BITMIME", True, id="smtputf8-with-8-bit-body"),
        pytest.param("X: é\r\n".encode() + WHOLE, "x@remote.example", True, "8BITMIME", True, id="utf-8-header"),
        pytest.param("X: é\r\n".encode() + WHOLE, "x@remote.example", False, "8BITMIME", False, id="raw-8-bit-header"),
        pytest.param(WHOLE, "é@remote.example", True, "7BIT", True, id="utf-8-recipient"),
    ],
)
async def test_the_envelope_says_what_the_octets_need(
    house: SubmissionHouse, raw: bytes, recipient: str, asked: bool, body: str, smtputf8: bool
) -> None:
    await submit(house, raw, [QueueRecipient(recipient)], smtputf8=asked)
    [sent] = await house.queued()
    assert (sent.message.envelope.body, sent.message.envelope.smtputf8) == (body, smtputf8)


async def test_the_null_sender(house: SubmissionHouse) -> None:
    await submit(house, sender="")
    [sent] = await house.queued()
    assert sent.message.envelope.sender == ""
    with pytest.raises(NotPermitted):
        await submit(house, WHOLE.replace(b"anna@", b"bert@"), sender="")


# Rewriting


async def test_rewriting_the_envelope_and_from(house: SubmissionHouse) -> None:
    raw = WHOLE.replace(b"From: anna@example.com", b'From: "Doe, B"\r\n <bert@example.com>')
    await submit(house, raw, service=house.submission(rewrite=True), sender="bert@example.com")
    [sent] = await house.queued()
    assert sent.message.envelope.sender == "anna@example.com"
    changed = b'From: "Doe, B" <anna@example.com>\r\nX-Original-From: "Doe, B"\r\n <bert@example.com>\r\n'
    assert sent.octets == sent.message.prefix + WHOLE.replace(FROM, changed)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(b"From: post@example.com\r\n", b"From: post@example.com\r\n", id="own-address"),
        pytest.param(
            b"From: a@b.example, c@d.example\r\n",
            b"From: <anna@example.com>\r\nX-Original-From: a@b.example, c@d.example\r\n",
            id="two",
        ),
        pytest.param(
            b"From: root\r\n", b"From: root <anna@example.com>\r\nX-Original-From: root\r\n", id="without-domain"
        ),
        pytest.param(
            b"From: anna@example.com\r\nSender: Bert <bert@example.com>\r\n",
            b"From: anna@example.com\r\n"
            b"Sender: Bert <anna@example.com>\r\nX-Original-Sender: Bert <bert@example.com>\r\n",
            id="sender",
        ),
    ],
)
async def test_rewriting_headers(house: SubmissionHouse, header: bytes, expected: bytes) -> None:
    rest = ID + DATE + b"\r\nbody\r\n"
    assert await octets(house, header + rest, service=house.submission(rewrite=True)) == expected + rest


async def test_rewriting_does_not_choose_between_two_from_fields(house: SubmissionHouse) -> None:
    with pytest.raises(InvalidInput):
        await submit(house, FROM + WHOLE, service=house.submission(rewrite=True))


# Recipients


@pytest.mark.parametrize(
    ("address", "error"),
    [
        pytest.param("x@remote.example", None, id="elsewhere"),
        pytest.param("x@bücher.example", None, id="utf-8-domain"),
        pytest.param("bert@example.com", None, id="here"),
        pytest.param("Bert+label@EXAMPLE.org", None, id="here-by-alias-domain"),
        pytest.param("any@anna.example", None, id="catch-all"),
        pytest.param("nobody@example.com", NotFound, id="unknown-here"),
        pytest.param("nobody@example.org", NotFound, id="unknown-in-an-alias-domain"),
        pytest.param("dora@example.com", AccountDisabled, id="disabled"),
        pytest.param("full@example.com", OverQuota, id="full"),
        pytest.param("postmaster@remote.example", None, id="wildcard-of-all-domains-is-for-local-ones"),
        pytest.param("x@[192.0.2.1]", InvalidInput, id="address-literal"),
        pytest.param("x@192.0.2.1", InvalidInput, id="address-as-domain"),
        pytest.param("x@localhost", InvalidInput, id="unqualified"),
        pytest.param("x@remote..example", InvalidInput, id="empty-label"),
        pytest.param("x@-remote.example", InvalidInput, id="bad-label"),
        pytest.param(f"x@{'a' * 64}.example", InvalidInput, id="long-label"),
        pytest.param(f"x@{'a.' * 130}example", InvalidInput, id="long-domain"),
        pytest.param(f"{'x' * 320}@remote.example", InvalidInput, id="long-local-part"),
        pytest.param("x", InvalidInput, id="no-domain"),
        pytest.param("x@remote\r\n.example", InvalidInput, id="line-break"),
    ],
)
async def test_recipients(house: SubmissionHouse, address: str, error: type[Exception] | None) -> None:
    service = house.submission()
    sender = await service.sender(house.principal("anna"), "anna@example.com", ARRIVAL)
    if error is None:
        await service.recipient(sender, address, 1000)
    else:
        with pytest.raises(error):
            await service.recipient(sender, address, 1000)


@pytest.mark.parametrize(
    ("change", "back"),
    [
        pytest.param({"suspended": True}, {"suspended": False}, id="suspended"),
        pytest.param({"disabled": True}, {"disabled": False}, id="disabled"),
        pytest.param({"disabled_scopes": ("smtp",)}, {"disabled_scopes": ()}, id="scope"),
    ],
)
async def test_who_may_not_send_any_more(
    house: SubmissionHouse, change: dict[str, object], back: dict[str, object]
) -> None:
    await house.change("anna", **change)
    with pytest.raises(AccountDisabled):
        await house.submission().sender(house.principal("anna"), "anna@example.com", ARRIVAL)
    await house.change("anna", **back)


# Limits of a day


async def used(house: SubmissionHouse) -> int:
    return (await house.store.counters.get(recipients_key(house.ids["anna"]))).value


async def test_recipients_of_a_day(house: SubmissionHouse) -> None:
    await house.change("anna", recipients=5)
    service = house.submission()
    await submit(house, recipients=[QueueRecipient(f"{number}@x.example") for number in range(3)])
    assert await used(house) == 3
    sender = await service.sender(house.principal("anna"), "anna@example.com", ARRIVAL)
    assert sender.left == 2
    await service.recipient(sender, "1@x.example", named=1)
    with pytest.raises(LimitReached):
        await service.recipient(sender, "2@x.example", named=2)


async def test_two_sessions_cannot_use_up_the_same_rest(house: SubmissionHouse) -> None:
    await house.change("anna", recipients=5)
    three = [QueueRecipient(f"{number}@x.example") for number in range(3)]
    outcomes = await asyncio.gather(*(submit(house, recipients=three) for _ in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, str)] == [DailyLimitReached] * 3
    assert (len(await house.queued()), await used(house)) == (1, 3)


async def test_what_was_not_queued_is_not_counted(house: SubmissionHouse) -> None:
    for raw in (WHOLE.replace(b"anna@", b"bert@"), b"no header"):
        with pytest.raises((NotPermitted, InvalidInput)):
            await submit(house, raw)
    assert await used(house) == 0
    for error, counted in ((Unavailable, 0), (CommitUnknown, 1)):
        service = Submission(house.store, house.delivery, Failing(error), house.pool, Policy(HOSTNAME))
        with pytest.raises(error):
            await submit(house, service=service)
        assert await used(house) == counted


class Failing:
    """A queue that takes nothing; `first`: only as long as there is a copy."""

    def __init__(self, error: type[Exception], queue: object = None) -> None:
        self.error = error
        self.queue = queue

    async def submit(self, message: NewMail, copy: SentCopy | None = None) -> str:
        if self.queue is not None and copy is None:
            return await self.queue.submit(message)  # type: ignore[attr-defined,no-any-return]
        raise self.error


async def test_a_queue_that_does_not_answer(house: SubmissionHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck:
        async def submit(self, message: NewMail, copy: SentCopy | None = None) -> str:
            await asyncio.Event().wait()
            return ""

    monkeypatch.setattr(submission, "SUBMIT_SECONDS", 0.2)
    service = Submission(house.store, house.delivery, Stuck(), house.pool, Policy(HOSTNAME))
    with pytest.raises(CommitUnknown):
        await submit(house, service=service)


async def test_counting_without_redis(mongo_uri: str, database_name: str) -> None:
    """P5: a Redis that is not there costs the count of other processes, no mail."""
    async with open_submission(mongo_uri, database_name, "redis://127.0.0.1:1/0") as alone:
        await submit(alone)
        assert await used(alone) == 1


async def test_counting_with_redis(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with open_submission(mongo_uri, database_name, redis_url) as house:
        await submit(house)
        count = await house.store.counters.get(recipients_key(house.ids["anna"]))
        assert count.value == 1
        assert 86_000 < count.ttl <= 86_400


# The copy in the mailbox for sent mail


async def test_a_copy_of_what_was_sent(house: SubmissionHouse) -> None:
    before = await house.copies("anna")
    await submit(house)
    assert await house.copies("anna") == before
    await house.change("anna", upload_sent_messages=True)
    await submit(house, b"Bcc: secret@x.example\r\n" + WHOLE)
    assert await house.copies("anna") == before + 1
    mailbox = await house.store.mailboxes.by_special_use(house.ids["anna"], "\\Sent")
    assert mailbox.unseen == 0
    [kept] = await house.store.database["messages"].find({"mailbox": ObjectId(mailbox.id)}).to_list(None)
    assert kept["size"] == len(WHOLE)


@pytest.mark.parametrize("error", [OverQuota, NotFound])
async def test_mail_goes_out_without_its_copy(
    house: SubmissionHouse, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    await house.change("anna", upload_sent_messages=True)
    service = Submission(house.store, house.delivery, Failing(error, house.queue), house.pool, Policy(HOSTNAME))
    with caplog.at_level(logging.INFO, "duckmail.submission"):
        queued = await submit(house, service=service)
    assert [sent.message.id for sent in await house.queued()] == [queued]
    assert "no copy" in caplog.messages


async def test_no_room_for_the_copy(house: SubmissionHouse) -> None:
    before = await house.copies("anna")
    await house.change("anna", upload_sent_messages=True, quota=100)
    await submit(house)
    assert (len(await house.queued()), await house.copies("anna")) == (1, before)
    assert await used(house) == 1


async def test_no_mailbox_for_the_copy(mongo_uri: str, database_name: str) -> None:
    async with open_submission(mongo_uri, database_name) as house:
        await house.change("anna", upload_sent_messages=True)
        mail = house.mail("anna")
        await mail.delete((await house.store.mailboxes.by_special_use(house.ids["anna"], "\\Sent")).path)
        await submit(house)
        assert len(await house.queued()) == 1
