"""What becomes of queued mail: every recipient ends as it should, and the sender is told once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest

from duckmail.errors import InUse, NotFound
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient, State
from storage.sweep import DAY, Sweep
from tests.support.outbound import ACCEPT, DEFER, REFUSE, SILENT, Answer, Outbound, World, outbound
from tests.support.stores import message

NO_MAIL: Answer = (554, "5.3.2", "No mail here")
DELIVERED, RELAYED, FAILED, WAITING, REMOVED = (
    State.DELIVERED,
    State.RELAYED,
    State.FAILED,
    State.WAITING,
    State.REMOVED,
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def one(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, world) as running:
        yield running


def reports(inbox: list[bytes]) -> list[bytes]:
    return [octets for octets in inbox if b"multipart/report" in octets]


async def test_mail_for_an_account_here_is_delivered_with_its_header_lines(one: Outbound, world: World) -> None:
    bert = await one.account("bert")
    identifier = await one.submit("bert@example.com", prefix=b"Received: by mx\r\n")
    assert await one.ended(identifier) == [DELIVERED]
    head = b"Return-Path: <anna@example.com>\r\nDelivered-To: bert@example.com\r\nReceived: by mx\r\n"
    assert await one.inbox(bert) == [head + message(1)]
    assert world.taken == []


async def test_mail_for_elsewhere_is_relayed_with_its_envelope_and_octets(one: Outbound, world: World) -> None:
    envelope = OutboundEnvelope("anna@example.com", "8BITMIME", ret="HDRS", envid="e+2B1")
    raw = message(1) + (b"x" * 98 + b"\r\n") * 5000 + b".\r\n"
    identifier = await one.submit("c@far.test", "d@away.test", raw=raw, envelope=envelope, prefix=b"X: y\r\n")
    assert await one.ended(identifier) == [RELAYED, RELAYED]
    (taken,) = world.taken
    assert (taken.host, taken.sender, taken.recipients) == (
        "relay.test",
        "anna@example.com",
        ("c@far.test", "d@away.test"),
    )
    assert taken.octets == b"X: y\r\n" + raw
    assert taken.letter.envelope == envelope


async def test_it_says_what_the_remote_said(one: Outbound, world: World) -> None:
    world.answers["c@far.test"] = [(250, "", "queued as 17")]
    identifier = await one.submit("c@far.test")
    await one.ended(identifier)
    (recipient,) = (await one.queue.get(identifier)).recipients
    assert (recipient.reply, recipient.status, recipient.host) == ("250 queued as 17", "2.0.0", "relay.test")
    assert (recipient.attempts, recipient.due) == (1, None)


async def test_what_is_deferred_is_tried_again(one: Outbound, world: World) -> None:
    world.answers["c@far.test"] = [DEFER, SILENT, ACCEPT]
    identifier = await one.submit("c@far.test", "d@far.test")
    assert await one.ended(identifier) == [RELAYED, RELAYED]
    assert dict(world.attempts) == {"c@far.test": 3, "d@far.test": 1}
    assert [taken.recipients for taken in world.taken] == [("d@far.test",), ("c@far.test",)]


async def test_a_refusal_is_reported_once(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    world.answers["c@far.test"] = [REFUSE]
    assert await one.ended(await one.submit("c@far.test")) == [FAILED]
    await one.all_ended()
    (report,) = reports(await one.inbox(anna))
    assert b"Return-Path: <>\r\nDelivered-To: anna@example.com\r\n" in report
    assert b"Final-Recipient: rfc822; c@far.test\r\nAction: failed\r\nStatus: 5.1.1\r\n" in report
    assert b"Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n" in report
    assert world.attempts["c@far.test"] == 1


async def test_a_report_speaks_the_language_of_the_account(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    await one.store.users.update(anna.user, {"language": "de"})
    world.answers["c@far.test"] = [REFUSE]
    await one.ended(await one.submit("c@far.test", user=anna.user))
    await one.all_ended()
    (report,) = reports(await one.inbox(anna))
    assert b"Subject: Ihre Nachricht wurde nicht zugestellt\r\n" in report


async def test_half_of_five_are_refused_and_one_report_names_them(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    names = [f"{letter}@far.test" for letter in "abcde"]
    for name in names[::2]:
        world.answers[name] = [REFUSE]
    identifier = await one.submit(*names)
    assert await one.ended(identifier) == [FAILED, RELAYED, FAILED, RELAYED, FAILED]
    await one.all_ended()
    (report,) = reports(await one.inbox(anna))
    assert report.count(b"Final-Recipient:") == 3
    assert [taken.recipients for taken in world.taken] == [("b@far.test", "d@far.test")]


async def test_recipients_of_many_domains_that_fail_are_in_one_report(
    mongo_uri: str, database_name: str, world: World
) -> None:
    for number in range(4):
        world.hosts[f"d{number}.test"] = [f"mx{number}.test"]
        world.answers[f"mx{number}.test"] = [REFUSE]
    async with outbound(mongo_uri, database_name, world, relay=None, mx=True) as one:
        anna = await one.account("anna")
        await one.ended(await one.submit("a@d0.test", "a@d1.test", "nobody@example.com", "a@d2.test", "a@d3.test"))
        await one.all_ended()
        (report,) = reports(await one.inbox(anna))
        assert report.count(b"Final-Recipient:") == 5


async def test_an_answer_that_never_came_is_tried_again(one: Outbound, world: World) -> None:
    """The remote server may have the message: this is the one way to have it twice."""
    world.ambiguous.add("c@far.test")
    assert await one.ended(await one.submit("c@far.test")) == [RELAYED]
    assert world.attempts["c@far.test"] == 2


async def test_the_schedule_ends_in_a_report(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    world.answers["c@far.test"] = [DEFER]
    identifier = await one.submit("c@far.test")
    assert await one.ended(identifier) == [FAILED]
    assert world.attempts["c@far.test"] == 3  # two waits
    assert (await one.queue.get(identifier)).recipients[0].status == "4.4.7"
    await one.all_ended()
    (report,) = reports(await one.inbox(anna))
    assert b"Status: 4.4.7\r\n" in report
    assert b"451 4.3.0 Later" in report


async def test_nobody_is_told_of_mail_without_a_sender(one: Outbound, world: World) -> None:
    world.answers["c@far.test"] = [REFUSE]
    identifier = await one.submit("c@far.test", sender="", notify=Notify.SUCCESS | Notify.FAILURE)
    assert await one.ended(identifier) == [FAILED]
    assert len([each async for each in one.queue.messages(ended=True)]) == 1


async def test_a_report_that_is_refused_ends_there(one: Outbound, world: World) -> None:
    world.answers["relay.test"] = [REFUSE]
    await one.ended(await one.submit("c@far.test", sender="gone@far.test"))
    await one.all_ended()
    found = [each async for each in one.queue.messages(ended=True)]
    assert [(each.origin, each.envelope.sender) for each in found] == [
        (Origin.SUBMISSION, "gone@far.test"),
        (Origin.REPORT, ""),
    ]


@pytest.mark.parametrize(
    ("notify", "answer", "dsn", "told"),
    [
        pytest.param(Notify.FAILURE | Notify.DELAY, REFUSE, False, "failed", id="default-failed"),
        pytest.param(Notify.FAILURE | Notify.DELAY, ACCEPT, False, "", id="default-relayed"),
        pytest.param(Notify.NEVER, REFUSE, False, "", id="never-failed"),
        pytest.param(Notify.NEVER, ACCEPT, False, "", id="never-relayed"),
        pytest.param(Notify.SUCCESS, REFUSE, False, "", id="success-failed"),
        pytest.param(Notify.SUCCESS, ACCEPT, False, "relayed", id="success-relayed"),
        pytest.param(Notify.SUCCESS, ACCEPT, True, "", id="success-relayed-to-one-who-reports-itself"),
        pytest.param(Notify.SUCCESS | Notify.FAILURE, REFUSE, False, "failed", id="both-failed"),
        pytest.param(Notify.DELAY, REFUSE, False, "", id="delay-failed"),
    ],
)
async def test_who_asked_is_told(
    one: Outbound, world: World, notify: Notify, answer: tuple[int, str, str], dsn: bool, told: str
) -> None:
    anna = await one.account("anna")
    world.answers["c@far.test"], world.dsn = [answer], dsn
    await one.ended(await one.submit("c@far.test", notify=notify))
    await one.all_ended()
    actions = [octets.partition(b"Action: ")[2].partition(b"\r\n")[0].decode() for octets in await one.inbox(anna)]
    assert actions == ([told] if told else [])


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        pytest.param(Notify.SUCCESS, True, id="success"),
        pytest.param(Notify.FAILURE | Notify.DELAY, False, id="default"),
    ],
)
async def test_of_a_delivery_here_too(one: Outbound, notify: Notify, told: bool) -> None:
    anna = await one.account("anna")
    await one.account("bert")
    await one.ended(await one.submit("bert@example.com", notify=notify))
    await one.all_ended()
    found = await one.inbox(anna)
    assert len(found) == told
    assert all(b"Action: delivered\r\nStatus: 2.1.5\r\n" in octets for octets in found)


async def test_a_delay_is_told_once(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    await one.store.users.update(anna.user, {"language": "de"})
    world.answers["c@far.test"] = [DEFER, DEFER, ACCEPT]
    world.go.clear()
    identifier = await one.submit("c@far.test", user=anna.user)
    await one.store.database["queue"].update_many({}, {"$set": {"created": datetime.now(UTC) - timedelta(hours=4)}})
    # What the attempt under way knows is older: so only the later ones see the message's age.
    world.go.set()
    assert await one.ended(identifier) == [RELAYED]
    await one.all_ended()
    (report,) = reports(await one.inbox(anna))
    assert b"Action: delayed\r\n" in report
    assert b"Will-Retry-Until: " in report
    assert b"Status: 4." in report
    parsed = message_from_bytes(report, policy=policy.default)
    assert parsed["Subject"] == "Ihre Nachricht verzögert sich"
    *_, headers = parsed.iter_parts()
    assert headers.get_content_type() == "text/rfc822-headers"
    assert headers.get_content().splitlines() == message(1).decode().partition("\r\n\r\n")[0].splitlines()


async def test_unknown_here_is_refused(one: Outbound) -> None:
    anna = await one.account("anna")
    await one.ended(await one.submit("nobody@example.com"))
    await one.all_ended()
    (report,) = reports(await one.inbox(anna))
    assert b"Status: 5.1.1\r\n" in report


async def test_without_a_route_it_waits_and_goes_when_there_is_one(
    mongo_uri: str, database_name: str, world: World
) -> None:
    async with outbound(mongo_uri, database_name, world, relay=None) as one:
        await one.account("bert")
        identifier = await one.submit("c@far.test", "bert@example.com")
        found = await one.until(identifier, lambda found: found.recipients[1].state is DELIVERED and not found.runner)
        (stranded, _) = found.recipients
        assert (stranded.state, stranded.attempts, stranded.due) == (WAITING, 0, None)
        assert "no route" in stranded.reply
        assert "due" not in (await one.store.database["queue"].find_one({}) or {})
    async with outbound(mongo_uri, database_name, world) as one:
        assert await one.ended(identifier) == [RELAYED, DELIVERED]
        assert [taken.recipients for taken in world.taken] == [("c@far.test",)]
        assert await one.store.database["queue"].count_documents({"stranded": True}) == 0


async def test_a_loop_is_broken(one: Outbound, world: World) -> None:
    await one.ended(
        await one.submit("c@far.test", sender="", prefix=b"Received: x\r\n", raw=b"Received: y\r\n" * 49 + message(1))
    )
    assert len(world.taken) == 1
    identifier = await one.submit(
        "c@far.test", sender="", prefix=b"Received: x\r\n", raw=b"Received: y\r\n" * 50 + message(1)
    )
    assert await one.ended(identifier) == [FAILED]
    assert (await one.queue.get(identifier)).recipients[0].status == "5.4.6"
    assert len(world.taken) == 1


async def test_local_mail_is_stored_once_however_often_it_is_tried(one: Outbound) -> None:
    """As after a crash between the delivery and what is recorded of it. The same message sent twice is two."""
    bert = await one.account("bert")
    first = await one.submit("bert@example.com", raw=b"Subject: no Message-ID\r\n\r\n")
    await one.ended(first)
    document = await one.store.database["queue"].find_one({})
    assert document is not None
    content = await one.store.database["contents"].find_one({})
    assert content is not None
    again = {"recipients.0.state": "waiting", "due": document["created"], "content": content["_id"]}
    await one.store.database["queue"].update_one({"_id": document["_id"]}, {"$set": again, "$unset": {"ended": 1}})
    await one.until(first, lambda found: found.recipients[0].attempts == 2)
    assert len(await one.inbox(bert)) == 1
    await one.ended(await one.submit("bert@example.com", raw=b"Subject: no Message-ID\r\n\r\n"))
    assert len(await one.inbox(bert)) == 2


async def test_more_recipients_than_a_server_takes_are_several_transactions(one: Outbound, world: World) -> None:
    names = [f"u{number}@far.test" for number in range(230)]
    assert await one.ended(await one.submit(*names)) == [RELAYED] * 230
    assert sorted(len(taken.recipients) for taken in world.taken) == [30, 100, 100]


async def test_due_later_is_sent_later(one: Outbound, world: World) -> None:
    identifier = await one.submit("c@far.test", due=datetime.now(UTC) + timedelta(seconds=0.3))
    await asyncio.sleep(0.15)
    assert world.taken == []
    assert await one.ended(identifier) == [RELAYED]


# Pace


async def test_not_more_than_so_many_at_once(mongo_uri: str, database_name: str, world: World) -> None:
    world.go.clear()
    async with outbound(mongo_uri, database_name, world, concurrency=4, per_host=3) as one:
        identifiers = [await one.submit(f"u{number}@far.test") for number in range(12)]
        async with asyncio.timeout(60):
            while world.now < 3:
                await asyncio.sleep(0.01)
        world.go.set()
        for identifier in identifiers:
            assert await one.ended(identifier) == [RELAYED]
        assert world.most == 3


async def test_what_is_taken_but_not_recorded_is_bounded(
    mongo_uri: str, database_name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process can make come twice by dying: twice `concurrency`, however long the database takes."""
    async with outbound(mongo_uri, database_name, world, concurrency=2, start=False) as one:
        finish, go, unrecorded = one.store.queue.finish, asyncio.Event(), [0]
        recorded = 0

        async def slowly(*about: Any) -> None:
            nonlocal recorded
            unrecorded.append(len(world.taken) - recorded)
            await go.wait()
            await finish(*about)
            recorded += 1

        monkeypatch.setattr(one.store.queue, "finish", slowly)
        identifiers = [await one.submit(f"u{number}@far.test") for number in range(12)]
        one.runner.start()
        async with asyncio.timeout(60):
            while unrecorded[-1] < 4:
                await asyncio.sleep(0.01)
        one.runner.wake()
        assert one.runner.working == 4
        go.set()
        for identifier in identifiers:
            assert await one.ended(identifier) == [RELAYED]
        assert max(unrecorded) == 4


async def test_a_slow_host_does_not_stop_the_others(mongo_uri: str, database_name: str, world: World) -> None:
    class Slow(World):
        async def send(self, destination, letter, recipients):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            if destination.host == "slow.test":
                await asyncio.sleep(60)
            return await super().send(destination, letter, recipients)

    slow = Slow(hosts={"slow.test": ["slow.test"], "far.test": ["far.test"]})
    async with outbound(
        mongo_uri, database_name, slow, relay=None, mx=True, concurrency=4, per_host=2, patience=0.1
    ) as one:
        many = [await one.submit(f"u{number}@slow.test") for number in range(20)]
        assert await one.ended(await one.submit("c@far.test")) == [RELAYED]
        assert all(recipient.attempts == 0 for recipient in (await one.queue.get(many[-1])).recipients)


# Mail exchangers


@pytest.mark.parametrize(
    ("domain", "hosts", "status", "reply"),
    [
        pytest.param("null.test", [], "5.1.10", "556 5.1.10", id="null-mx"),
        pytest.param("none.test", None, "5.1.2", "550 5.1.2", id="no-such-domain"),
        pytest.param("[192.0.2.1]", None, "5.1.2", "550 5.1.2", id="address-literal"),
    ],
)
async def test_domains_that_take_no_mail(
    mongo_uri: str, database_name: str, world: World, domain: str, hosts: list[str] | None, status: str, reply: str
) -> None:
    if hosts is not None:
        world.hosts[domain] = hosts
    async with outbound(mongo_uri, database_name, world, relay=None, mx=True) as one:
        identifier = await one.submit(f"c@{domain}", sender="")
        assert await one.ended(identifier) == [FAILED]
        (recipient,) = (await one.queue.get(identifier)).recipients
        assert recipient.status == status
        assert recipient.reply.startswith(reply)


@pytest.mark.parametrize(
    ("first", "second", "states", "hosts"),
    [
        pytest.param(SILENT, ACCEPT, [RELAYED], ["b.test"], id="no-connection"),
        pytest.param((421, "4.3.2", "busy"), ACCEPT, [RELAYED], ["b.test"], id="deferred-as-a-whole"),
        pytest.param(REFUSE, ACCEPT, [FAILED], [], id="refused-for-good"),
        pytest.param(ACCEPT, REFUSE, [RELAYED], ["a.test"], id="the-first-takes-it"),
    ],
)
async def test_the_next_host_is_asked(
    mongo_uri: str,
    database_name: str,
    world: World,
    first: tuple[int, str, str],
    second: tuple[int, str, str],
    states: list[State],
    hosts: list[str],
) -> None:
    world.hosts["far.test"] = ["a.test", "b.test"]
    world.answers = {"a.test": [first], "b.test": [second]}
    async with outbound(mongo_uri, database_name, world, relay=None, mx=True) as one:
        assert await one.ended(await one.submit("c@far.test", sender="")) == states
        assert [taken.host for taken in world.taken] == hosts


@pytest.mark.parametrize(
    ("second", "states", "hosts"),
    [
        pytest.param(ACCEPT, [RELAYED], ["b.test"], id="the-other-takes-it"),
        pytest.param(NO_MAIL, [FAILED], [], id="all-say-so"),
        pytest.param(SILENT, [WAITING], [], id="the-other-is-away"),
    ],
)
async def test_a_host_that_wants_no_mail_at_all_speaks_for_itself(
    mongo_uri: str, database_name: str, world: World, second: Answer, states: list[State], hosts: list[str]
) -> None:
    """RFC 5321 §5.1: a greeting of 554 is no word about the message; the next mail exchanger is asked."""
    for order in (["a.test", "b.test"], ["b.test", "a.test"]):
        world.hosts["far.test"] = order
        world.answers, world.unheard = {"a.test": [NO_MAIL], "b.test": [second]}, {"a.test", "b.test"} - set(hosts)
        async with outbound(mongo_uri, database_name, world, relay=None, mx=True, schedule=(3600,)) as one:
            identifier = await one.submit("c@far.test", sender="")
            found = await one.until(identifier, lambda found: found.recipients[0].attempts == 1 and not found.runner)
            assert [recipient.state for recipient in found.recipients] == states
            assert [taken.host for taken in world.taken] == hosts
        world.taken.clear()


async def test_without_name_servers_it_waits(mongo_uri: str, database_name: str, world: World) -> None:
    async with outbound(mongo_uri, database_name, world, relay=None, mx=True, schedule=(60,)) as one:
        identifier = await one.submit("c@broken.test")
        found = await one.until(identifier, lambda found: found.recipients[0].attempts == 1)
        assert found.recipients[0].status == "4.4.3"


# By hand


async def test_held_mail_waits_until_it_is_released(mongo_uri: str, database_name: str, world: World) -> None:
    async with outbound(mongo_uri, database_name, world, start=False) as one:
        identifier = await one.submit("c@far.test")
        await one.queue.hold(identifier)
        one.runner.start()
        await asyncio.sleep(0.2)
        assert (await one.queue.get(identifier)).held
        assert world.taken == []
        await one.queue.release(identifier)
        assert await one.ended(identifier) == [RELAYED]


async def test_held_while_it_is_sent_it_is_not_tried_again(one: Outbound, world: World) -> None:
    world.answers["c@far.test"] = [DEFER, ACCEPT]
    world.go.clear()
    identifier = await one.submit("c@far.test")
    await world.begun.wait()
    await one.queue.hold(identifier)
    world.go.set()
    await one.until(identifier, lambda found: found.recipients[0].attempts == 1 and not found.runner)
    await asyncio.sleep(0.2)
    assert world.attempts["c@far.test"] == 1


@pytest.mark.parametrize("everything", [False, True], ids=["one", "all"])
async def test_retry_does_not_wait_for_the_schedule(
    mongo_uri: str, database_name: str, world: World, everything: bool
) -> None:
    world.answers["c@far.test"] = [DEFER, ACCEPT]
    async with outbound(mongo_uri, database_name, world, schedule=(3600, 3600)) as one:
        identifier = await one.submit("c@far.test", "d@far.test")
        await one.until(identifier, lambda found: found.recipients[0].attempts == 1 and not found.runner)
        assert await one.queue.retry(None if everything else identifier) == 1
        assert await one.ended(identifier) == [RELAYED, RELAYED]
        assert world.attempts["d@far.test"] == 1


async def test_retries_by_hand_do_not_end_the_schedule(mongo_uri: str, database_name: str, world: World) -> None:
    world.answers["c@far.test"] = [DEFER]
    async with outbound(mongo_uri, database_name, world, schedule=(3600,)) as one:
        identifier = await one.submit("c@far.test")
        for attempts in range(1, 5):
            found = await one.until(
                identifier, lambda found, n=attempts: found.recipients[0].attempts == n and not found.runner
            )
            assert found.recipients[0].state is WAITING
            await one.queue.retry(identifier)


@pytest.mark.parametrize("notify", [False, True], ids=["silently", "with-a-report"])
async def test_removed_mail_is_not_sent(mongo_uri: str, database_name: str, world: World, notify: bool) -> None:
    async with outbound(mongo_uri, database_name, world, start=False) as one:
        anna = await one.account("anna")
        identifier = await one.submit("c@far.test", "d@far.test")
        await one.queue.remove(identifier, notify=notify)
        assert await one.ended(identifier) == [FAILED if notify else REMOVED] * 2
        one.runner.start()
        await one.all_ended()
        assert world.taken == []
        assert len(reports(await one.inbox(anna))) == notify
        with pytest.raises(NotFound):
            await one.queue.remove(identifier)


async def test_what_is_being_sent_cannot_be_removed(one: Outbound, world: World) -> None:
    world.go.clear()
    identifier = await one.submit("c@far.test")
    await world.begun.wait()
    with pytest.raises(InUse):
        await one.queue.remove(identifier)
    world.go.set()
    assert await one.ended(identifier) == [RELAYED]


@pytest.mark.parametrize("identifier", ["x", "0" * 24], ids=["no-id", "unknown"])
async def test_what_is_not_there(one: Outbound, identifier: str) -> None:
    for call in (one.queue.get, one.queue.hold, one.queue.release, one.queue.remove):
        with pytest.raises(NotFound):
            await call(identifier)


# What is kept


async def test_a_content_is_kept_until_the_end(mongo_uri: str, database_name: str, world: World) -> None:
    async with outbound(mongo_uri, database_name, world, start=False) as one:
        identifier = await one.submit("c@far.test", raw=message(1) + b"x" * 400_000)

        async def swept() -> int:
            for days in range(1, 4):
                await Sweep(one.store.database).run(datetime.now(UTC) + days * DAY)
            return await one.store.database["contents"].count_documents({})

        assert await swept() == 1
        one.runner.start()
        await one.ended(identifier)
        assert len(world.taken[0].octets) > 400_000
        assert await swept() == 0


async def test_recipients_are_looked_at_as_they_were_given(one: Outbound, world: World) -> None:
    recipient = QueueRecipient("c@far.test", Notify.SUCCESS, "rfc822;C+2Bx@far.test")
    identifier = await one.submit(recipient)
    await one.ended(identifier)
    (found,) = (await one.queue.get(identifier)).recipients
    assert (found.notify, found.orcpt) == (Notify.SUCCESS, "rfc822;C+2Bx@far.test")
