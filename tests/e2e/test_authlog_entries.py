"""The authlog of where mail was told to go: by forwarding and by filters, without the logins of relays."""

from typing import Any

import pytest

from duckmail.services.authlog import shown_target
from tests.support.house import House


async def _entries(house: House, user: str, query: str = "") -> list[Any]:
    reply = await house.call("GET", f"/users/{user}/authlog?{query}")
    assert reply.status == 200, reply.text
    found: list[Any] = reply.json["results"]
    assert reply.json["total"] == len(found)
    return found


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        pytest.param("anna@example.com", "anna@example.com", id="address"),
        pytest.param("smtps://user:p%40ss@mx.example:465", "smtps://mx.example:465", id="relay-with-login"),
        pytest.param("smtp://mx.example", "smtp://mx.example", id="relay"),
        pytest.param("https://a:b@hook.example/x?y=c@d", "https://hook.example/x?y=c@d", id="sign-in-the-query"),
        pytest.param("https://hook.example?y=c@d", "https://hook.example?y=c@d", id="no-path"),
        pytest.param("smtp://a:b@c@mx.example/", "smtp://mx.example/", id="two-signs"),
    ],
)
def test_targets_are_shown_without_their_login(target: str, shown: str) -> None:
    assert shown_target(target) == shown


async def test_new_targets_of_forwarding_are_told(house: House) -> None:
    trace = {"ip": "192.0.2.1", "sess": "one"}
    new = {"username": "anna", "password": "secretvalue", "targets": ["a@far.example", "b@far.example"], **trace}
    user = (await house.call("POST", "/users", new)).json["id"]
    action = "action=user%20forward%20added"
    assert {each["target"] for each in await _entries(house, user, action)} == {"a@far.example", "b@far.example"}
    relay = "smtps://me:hidden-word@mx.example"
    changed = {"targets": ["b@far.example", relay], "ip": "192.0.2.2"}
    assert (await house.call("PUT", f"/users/{user}", changed)).status == 200
    assert (await house.call("PUT", f"/users/{user}", {**changed, "name": "A"})).status == 200
    [late] = await _entries(house, user, f"{action}&filterip=192.0.2.2")
    assert (late["target"], late["result"], late["events"], late["sess"]) == ("smtps://mx.example", "success", 1, None)
    assert "hidden-word" not in str(await _entries(house, user))


async def test_new_filters_are_told_and_where_they_send_mail(house: House) -> None:
    user = await house.make_user()
    path = f"/users/{user}/filters"
    made = []
    for name in ("one", "two"):
        new = {"name": name, "query": {"subject": name}, "action": {"targets": [f"{name}@far.example"]}, "sess": "s"}
        made.append((await house.call("POST", path, new)).json["id"])
    added = await _entries(house, user, "action=filter%20added")
    assert [(each["filter"], each["events"], each["sess"]) for each in added] == [
        (made[1], 1, "s"),
        (made[0], 1, "s"),
    ]
    more = {"action": {"targets": ["one@far.example", "three@far.example"]}}
    assert (await house.call("PUT", f"{path}/{made[0]}", more)).status == 200
    forwards = await _entries(house, user, "action=filter%20forward%20added")
    assert [(each["filter"], each["target"]) for each in forwards] == [
        (made[0], "three@far.example"),
        (made[1], "two@far.example"),
        (made[0], "one@far.example"),
    ]
