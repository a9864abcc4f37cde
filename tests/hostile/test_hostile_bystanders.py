"""What others would suffer from: mail that is made to go on from here, and answers to people who have not written."""

from collections.abc import AsyncIterator, Callable

import pytest

from duckmail.model.queue import NOTIFY_DEFAULT, Notify
from tests.support.mx import CLIENT, SRS, STRANGER, MxHouse, message, shared_mx

FORGED = "a@soft.example"  # whose domain asks for quarantine of what is not from there


@pytest.fixture(scope="module")
async def shared(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        database = opened.house.store.database
        anna = await database["users"].find_one({"username": "anna"})
        assert anna is not None
        await database["users"].update_one({"_id": anna["_id"]}, {"$set": {"targets": ["copy@far.example"]}})
        await opened.house.store.autoreplies.update(
            str(anna["_id"]), {"status": True, "subject": "away", "text": "later"}
        )
        yield opened


@pytest.fixture
async def house(shared: MxHouse) -> MxHouse:
    """With an empty queue."""
    await shared.house.store.database["queue"].delete_many({})
    return shared


# SRS: an address that mail goes on from must be one that was made here, and of a bounce


@pytest.mark.parametrize(
    ("change", "sender"),
    [
        pytest.param(lambda made: made, "a@good.example", id="with-a-sender"),
        pytest.param(lambda made: made.replace("author", "victim"), "", id="another-address"),
        pytest.param(lambda made: made.replace("away.example", "victim.example"), "", id="another-domain"),
        pytest.param(lambda made: made.replace("SRS0=", "SRS0=x"), "", id="another-mac"),
        pytest.param(lambda made: made.replace("SRS0=", "SRS1="), "", id="another-scheme"),
        pytest.param(lambda made: "SRS0=aaaa=AA=victim.example=x@" + made.partition("@")[2], "", id="guessed"),
        pytest.param(lambda made: "victim%away.example@" + made.partition("@")[2], "", id="no-srs"),
    ],
)
async def test_nothing_is_relayed_by_srs(house: MxHouse, change: Callable[[str], str], sender: str) -> None:
    said = await house.send(message("relay"), change(SRS.rewritten("author@away.example")), sender=sender)
    assert said[:4] == "550 "
    assert await house.queued() == []


# Backscatter


async def test_who_wrote_is_answered(house: MxHouse) -> None:
    """That the others below are not is by what differs."""
    assert (await house.send(message("proved"))).startswith("250")
    found = {each.message.origin.value: each.addresses for each in await house.queued()}
    assert found == {"forward": ["copy@far.example"], "autoreply": ["a@good.example"]}


async def test_whose_name_is_forged_is_not_answered_nor_written_to(house: MxHouse) -> None:
    """It is stored as Junk: no answer to him, and nothing that would bounce to him."""
    raw = message("forged", FORGED)
    assert (await house.send(raw, sender=FORGED, host=STRANGER)).startswith("250")
    assert len(await house.mailbox("anna", "forged", "Junk")) == 1
    assert await house.queued() == []


@pytest.mark.parametrize(
    ("recipient", "sender", "more", "reply"),
    [
        pytest.param("nobody@example.com", FORGED, "", "550 5.1.1", id="unknown"),
        pytest.param("full@example.com", FORGED, "", "552 5.2.2", id="full"),
        pytest.param("dora@example.com", FORGED, "", "550 5.2.1", id="disabled"),
        pytest.param("team@example.com", "a@none.example", "Received: x\r\n" * 40, "554 5.6.0", id="goes-round"),
    ],
)
async def test_refusals_are_said_and_not_sent(
    house: MxHouse, recipient: str, sender: str, more: str, reply: str
) -> None:
    said = await house.send(message("refused", sender, more), recipient, sender=sender, host=STRANGER)
    assert said.startswith(reply), said
    assert await house.queued() == []


async def test_nobody_is_told_of_forwarded_mail_in_a_forged_name(house: MxHouse) -> None:
    """It goes on to where the address leads, which sees as well as we do what it is; if it fails there, he did not
    write it."""
    raw = message("forged team", FORGED)
    assert (await house.send(raw, "team@example.com", sender=FORGED, host=STRANGER)).startswith("250")
    assert (await house.send(message("team"), "team@example.com")).startswith("250")
    forged, proved = await house.queued()
    assert {each.notify for each in forged.message.recipients} == {Notify.NEVER}
    assert {each.notify for each in proved.message.recipients} == {NOTIFY_DEFAULT}


@pytest.mark.parametrize(
    ("sender", "more"),
    [
        pytest.param("", "", id="rfc3834-2-null-sender"),
        pytest.param("mailer-daemon@good.example", "", id="a-machine"),
        pytest.param("a@good.example", "Auto-Submitted: auto-replied\r\n", id="rfc3834-2-automatic"),
        pytest.param("a@good.example", "List-Id: <x.good.example>\r\n", id="rfc3834-2-list"),
        pytest.param("a@good.example", "Precedence: bulk\r\n", id="bulk"),
    ],
)
async def test_machines_are_not_answered(house: MxHouse, sender: str, more: str) -> None:
    raw = message(f"machine {sender} {more[:4]}".strip(), sender or "x@none.example", more)
    assert (await house.send(raw, sender=sender, host=CLIENT)).startswith("250")
    assert {each.message.origin.value for each in await house.queued()} == {"forward"}
