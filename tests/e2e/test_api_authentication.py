"""The tag Authentication over HTTP: sign-in, tokens, throttles."""

from typing import Any

import pytest

from duckmail.services.access import SYSTEM
from tests.support.api import Api


async def _sign_in(api: Api, **fields: object) -> Any:
    return await api.call("POST", "/authenticate", {"username": "anna", "password": "secretvalue", **fields})


async def test_sign_in_tells_who_it_is(api: Api) -> None:
    user = await api.make_user("anna.bee")
    for name in ("anna.bee", "ANNABEE", "annabee+x@EXAMPLE.com"):
        reply = await _sign_in(api, username=name, ip="192.0.2.7", sess="abc", protocol="IMAP", appId="app:1")
        assert reply.status == 200, name
        assert reply.json == {
            "success": True,
            "id": user,
            "username": "anna.bee",
            "address": "anna.bee@example.com",
            "scope": "master",
            "require2fa": False,
            "requirePasswordChange": False,
        }
    checked = await api.call("POST", "/preauth", {"username": "anna.bee", "scope": "imap"})
    assert checked.json["id"] == user
    assert checked.json["scope"] == "imap"


async def test_a_token_works_until_it_is_dropped(api: Api) -> None:
    user = await api.make_user()
    token = (await _sign_in(api, token=True)).json["token"]
    assert (await api.call("GET", "/users/me", token=token)).json["id"] == user
    assert (await api.call("GET", "/users/me", token=token.upper())).status == 403
    assert (await api.call("DELETE", "/authenticate?anything=1", token=token)).json == {"success": True}
    assert (await api.call("GET", "/users/me", token=token)).status == 403
    assert (await api.call("DELETE", "/authenticate")).json == {"success": True}


async def test_a_token_is_for_the_master_scope_only(api: Api) -> None:
    await api.make_user()
    reply = await _sign_in(api, token=True, scope="imap")
    assert (reply.status, reply.json["error"]) == (400, '"scope" must be [master]')
    assert list(reply.json["details"]) == ["scope"]
    role = await api.accounts.tokens.issue("auth")
    silent = await api.call(
        "POST", "/authenticate", {"username": "anna", "password": "secretvalue", "token": True}, token=role
    )
    assert (silent.status, "token" in silent.json) == (200, False)


async def test_refusals_say_nothing_but_the_id(api: Api) -> None:
    user = await api.make_user()
    failed = {"error": "Authentication failed", "code": "AuthFailed"}
    wrong = await _sign_in(api, password="wrong")
    assert (wrong.status, wrong.json) == (403, {**failed, "id": user})
    unknown = await _sign_in(api, username="nobody")
    assert (unknown.status, unknown.json) == (403, failed)
    await api.call("PUT", f"/users/{user}", {"disabledScopes": ["pop3"]})
    scope = await _sign_in(api, scope="pop3")
    assert (scope.status, scope.json) == (
        403,
        {"error": "Access to requested service disabled", "code": "InvalidAuthScope", "id": user},
    )
    await api.call("PUT", f"/users/{user}", {"disabled": True})
    disabled = await _sign_in(api)
    assert (disabled.status, disabled.json) == (403, {**failed, "id": user})
    assert (await api.call("POST", "/preauth", {"username": "anna"})).json == {**failed, "id": user}


async def test_a_temporary_password_asks_for_a_change(api: Api) -> None:
    user = await api.make_user(requirePasswordChange=True)
    assert (await _sign_in(api)).json["requirePasswordChange"] is True
    other = await _sign_in(api, scope="imap")
    assert (other.status, other.json["code"], other.json["error"]) == (
        403,
        "InvalidAuthScope",
        "Authentication failed. Invalid scope",
    )
    assert (await api.call("GET", f"/users/{user}")).json["hasPasswordSet"] is True
    assert (await api.call("GET", "/users")).json["results"][0]["hasPasswordSet"] is False
    await api.call("PUT", f"/users/{user}", {"password": "newvalue"})
    assert (await _sign_in(api)).status == 403
    assert (await _sign_in(api, password="newvalue", scope="imap")).json["requirePasswordChange"] is False


async def test_the_thirteenth_attempt_is_refused_even_if_right(api: Api) -> None:
    user = await api.make_user()
    for _ in range(12):
        assert (await _sign_in(api, password="wrong")).json["code"] == "AuthFailed"
    reply = await _sign_in(api)
    assert (reply.status, reply.json) == (
        403,
        {"error": "Authentication was rate limited", "code": "RateLimitedError"},
    )
    by_name = await _sign_in(api, username="anna@example.com")
    assert by_name.json["code"] == "RateLimitedError"
    assert (await api.accounts.users.get(user, SYSTEM)).last_login is None


@pytest.mark.parametrize(
    ("body", "details"),
    [
        pytest.param({"password": "x"}, {"username": '"username" is required'}, id="no-name"),
        pytest.param(
            {"username": "a b", "password": "x"},
            {"username": '"username" does not match any of the allowed types'},
            id="neither-name-nor-address",
        ),
        pytest.param(
            {"username": "a", "password": ""}, {"password": '"password" is not allowed to be empty'}, id="no-password"
        ),
        pytest.param(
            {"username": "a", "password": "x", "appId": "x"}, {"appId": '"appId" must be a valid uri'}, id="uri"
        ),
    ],
)
async def test_bad_requests(api: Api, body: dict[str, object], details: dict[str, str]) -> None:
    reply = await api.call("POST", "/authenticate", body)
    assert (reply.status, reply.json["details"]) == (400, details)
