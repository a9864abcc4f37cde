"""`mtaRelay`: what an account sends to others goes through a server of its own choice, with its own login."""

from collections.abc import AsyncIterator

import pytest

from duckmail.model.queue import State
from duckmail.model.target import MASK
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from tests.support.api import Api, open_api
from tests.support.outbound import REFUSE, Outbound, World, outbound

OWN = "smtps://anna:secret@relay.own.test"


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


async def test_it_is_kept_sealed_and_shown_without_its_password(api: Api) -> None:
    made = await api.call("POST", "/users", json={"username": "anna", "password": "long-enough", "mtaRelay": OWN})
    path = f"/users/{made.json['id']}"
    shown = OWN.replace("secret", MASK)
    assert (await api.call("GET", path)).json["mtaRelay"] == shown
    kept = (await api.store.users.get(made.json["id"])).mta_relay
    assert "secret" not in kept
    # What was shown may be given back, and still has its password.
    assert (await api.call("PUT", path, json={"mtaRelay": shown})).status == 200
    assert (await api.store.users.get(made.json["id"])).mta_relay == kept
    assert (await api.call("PUT", path, json={"mtaRelay": "smtp://other.test:2525"})).status == 200
    assert (await api.call("GET", path)).json["mtaRelay"] == "smtp://other.test:2525"


@pytest.mark.parametrize("value", ["", "http://relay.test", "anna@relay.test", "smtp://", "smtp://a b.test", 5])
async def test_what_is_no_relay(api: Api, value: object) -> None:
    made = await api.call("POST", "/users", json={"username": "anna", "password": "long-enough", "mtaRelay": value})
    assert (made.status, made.json["code"]) == (400, "InputValidationError")


async def test_an_account_without_one_has_none_in_its_answer(api: Api) -> None:
    made = await api.call("POST", "/users", json={"username": "anna", "password": "long-enough"})
    assert "mtaRelay" not in (await api.call("GET", f"/users/{made.json['id']}")).json


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def one(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, world) as running:
        yield running


async def test_what_the_account_sends_to_others_goes_there(one: Outbound, world: World) -> None:
    anna, bert = await one.account("anna"), await one.account("bert")
    (sealed,) = TargetPasswords(Sealer([bytes(32)])).sealed([OWN])
    await one.store.users.update(anna.user, {"mta_relay": sealed})
    identifier = await one.submit("c@far.test", "bert@example.com", user=anna.user)
    assert await one.ended(identifier) == [State.RELAYED, State.DELIVERED]
    assert len(await one.inbox(bert)) == 1
    assert await one.ended(await one.submit("d@far.test", user=bert.user)) == [State.RELAYED]
    assert [(taken.host, taken.recipients) for taken in world.taken] == [
        ("relay.own.test", ("c@far.test",)),
        ("relay.test", ("d@far.test",)),
    ]
    destination = world.destinations[0]
    assert (destination.username, destination.password, destination.tls) == ("anna", "secret", "implicit")


async def test_reports_about_its_mail_are_this_servers(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    await one.store.users.update(anna.user, {"mta_relay": "smtp://relay.own.test"})
    world.answers["c@far.test"] = [REFUSE]
    await one.ended(await one.submit("c@far.test", user=anna.user, sender="elsewhere@away.test"))
    await one.all_ended()
    assert [(taken.host, taken.recipients) for taken in world.taken] == [("relay.test", ("elsewhere@away.test",))]


async def test_it_is_none_of_this_servers_own_relay(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    await one.store.users.update(anna.user, {"mta_relay": "smtp://relay.test"})
    identifier = await one.submit("c@far.test", user=anna.user)
    assert await one.ended(identifier) == [State.FAILED], "whose host may be within our own walls"
    assert (await one.queue.get(identifier)).recipients[0].status == "5.1.2"
