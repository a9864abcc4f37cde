"""The tag Users over HTTP."""

import re
from typing import Any

import pytest

from duckmail.model.account import User
from duckmail.services.access import SYSTEM
from tests.support.api import Api

NOBODY = "0123456789abcdef01234567"


async def _user_token(api: Api, user: str) -> str:
    return await api.accounts.tokens.issue("user", await api.accounts.users.get(user, SYSTEM))


async def test_a_user_is_made_read_listed_changed_and_removed(api: Api) -> None:
    user = await api.make_user("Anna.Bee", name="Anna", tags=["b ", "A", "a"], metaData={"x": [1]}, quota="1000")
    assert re.fullmatch("[0-9a-f]{24}", user)
    read = (await api.call("GET", f"/users/{user.upper()}")).json
    assert read["success"] is True
    assert {key: read[key] for key in ("id", "username", "name", "address", "tags", "metaData", "internalData")} == {
        "id": user,
        "username": "anna.bee",
        "name": "Anna",
        "address": "anna.bee@example.com",
        "tags": ["A", "b"],
        "metaData": {"x": [1]},
        "internalData": {},
    }
    assert read["limits"]["quota"] == {"allowed": 1000, "used": 0}
    assert read["limits"]["recipients"] == {"allowed": 2000, "used": 0, "ttl": False}
    assert read["hasPasswordSet"] is True
    assert read["language"] is None
    assert "retention" not in read
    assert (await api.call("GET", "/users/resolve/ANNAB.EE")).json == {"success": True, "id": user}

    changed = await api.call("PUT", f"/users/{user}", {"name": "", "quota": 0, "retention": 5, "disabled": "yes"})
    assert changed.json == {"success": True}
    read = (await api.call("GET", f"/users/{user}")).json
    assert (read["name"], read["disabled"], read["retention"]) == (None, True, 5)
    assert read["limits"]["quota"]["allowed"] == 1 << 30

    listed = (await api.call("GET", "/users?query=bee&metaData=true&page=7")).json
    assert (listed["total"], listed["page"], listed["query"]) == (1, 1, "bee")
    assert (listed["previousCursor"], listed["nextCursor"]) == (False, False)
    assert listed["results"][0]["id"] == user
    assert listed["results"][0]["metaData"] == {"x": [1]}
    assert "internalData" not in listed["results"][0]

    removed = (await api.call("DELETE", f"/users/{user}?deleteAfter=2031-02-03T04:05:06.789Z")).json
    assert re.fullmatch("[0-9a-f]{24}", removed.pop("task"))
    assert removed == {
        "success": True,
        "code": "TaskScheduled",
        "user": user,
        "addresses": {"deleted": 1},
        "deleteAfter": "2031-02-03T04:05:06.789Z",
    }
    gone = await api.call("GET", f"/users/{user}")
    assert (gone.status, gone.json) == (404, {"error": "This user does not exist", "code": "UserNotFound"})
    again = await api.call("DELETE", f"/users/{user}")
    assert (again.status, again.json["addresses"], "deleteAfter" in again.json) == (200, {"deleted": 0}, False)


async def test_an_empty_update_changes_nothing_and_succeeds(api: Api) -> None:
    user = await api.make_user(uploadSentMessages=True)
    before = await api.accounts.users.get(user, SYSTEM)
    assert (await api.call("PUT", f"/users/{user}", {})).json == {"success": True}
    assert await api.accounts.users.get(user, SYSTEM) == before
    assert before.upload_sent_messages is True


@pytest.mark.parametrize(
    ("fields", "status", "code", "text"),
    [
        pytest.param(
            {"username": "an.na"}, 500, "UserExistsError", "This username already exists", id="username-taken"
        ),
        pytest.param(
            {"username": "bob", "address": "Anna+x@example.com"},
            500,
            "AddressExistsError",
            "This email address already exists",
            id="address-taken",
        ),
        pytest.param(
            {"username": "bob", "password": "$2x$10$abc", "hashedPassword": True},
            500,
            "HashError",
            'Invalid algo: "2x"',
            id="hash-of-another-kind",
        ),
    ],
)
async def test_create_conflicts(api: Api, fields: dict[str, Any], status: int, code: str, text: str) -> None:
    await api.make_user("anna")
    reply = await api.call("POST", "/users", {"password": "x", **fields})
    assert reply.status == status
    assert reply.json == {"error": text, "code": code, "username": fields["username"]}


async def test_all_violations_are_reported_together(api: Api) -> None:
    reply = await api.call(
        "POST",
        "/users?ip=10.0.0.0/8&sess=x",
        {
            "username": "a..b",
            "targets": ["x@example.com", "nobody"],
            "disabledScopes": ["imap", "ftp"],
            "spamLevel": 101,
            "quota": "",
            "tags": "x",
            "name": 7,
            "featureFlags": {"indexing": 2},
            "mailboxes": {"sent": "a//b"},
            "emptyAddress": "",
            "encryptMessages": 2,
            "unknown": 1,
        },
    )
    assert reply.status == 400
    body = reply.json
    assert body["code"] == "InputValidationError"
    pattern = r"[a-z0-9-]+(?:[._=:][a-z0-9-]+)*(?:@[a-z0-9-]+(?:[._=:][a-z0-9-]+)*)?"
    assert body["details"] == {
        "username": f'"username" with value "a..b" fails to match the required pattern: /^{pattern}$/',
        "password": '"password" is required',
        "targets,1": '"targets[1]" does not match any of the allowed types',
        "disabledScopes,1": '"disabledScopes[1]" must be one of [imap, pop3, smtp]',
        "spamLevel": '"spamLevel" must be less than or equal to 100',
        "quota": '"quota" must be a number',
        "tags": '"tags" must be an array',
        "name": '"name" must be a string',
        "featureFlags,indexing": '"featureFlags.indexing" must be a boolean',
        "mailboxes,sent": '"mailboxes.sent" can not contain // or end with /',
        "encryptMessages": '"encryptMessages" must be a boolean',
        "ip": '"Client IP" must be a valid ip address of one of the following versions [ipv4, ipv6] '
        "with a forbidden CIDR",
        "unknown": '"unknown" is not allowed',
    }
    assert all(message in body["error"] for message in body["details"].values())


@pytest.mark.parametrize(
    ("path", "details"),
    [
        pytest.param("/users/", {"user": '"user" is not allowed to be empty'}, id="empty-id"),
        pytest.param("/users/me", {"user": '"user" must only contain hexadecimal characters'}, id="me-of-a-server"),
        pytest.param("/users/abc", {"user": '"user" length must be 24 characters long'}, id="short-id"),
        pytest.param(f"/users/{NOBODY}?x=1", {"x": '"x" is not allowed'}, id="unknown-query"),
        pytest.param("/users?limit=251", {"limit": '"Page size" must be less than or equal to 250'}, id="limit"),
        pytest.param("/users?limit=0", {"limit": '"Page size" must be greater than or equal to 1'}, id="limit-0"),
        pytest.param("/users?next=YWJj", {"next": '"Next page cursor" is not valid'}, id="made-up-cursor"),
        pytest.param(
            "/users?previous=a.b",
            {
                "previous": '"Previous page cursor" with value "a.b" fails to match the required pattern: '
                "/^[a-z0-9\\-_]+$/i"
            },
            id="cursor-charset",
        ),
        pytest.param("/users/resolve/a%20b", None, id="resolve-bad-name"),
    ],
)
async def test_bad_requests(api: Api, path: str, details: dict[str, str] | None) -> None:
    reply = await api.call("GET", path)
    assert (reply.status, reply.json["code"]) == (400, "InputValidationError")
    if details is not None:
        assert reply.json["details"] == details


async def test_two_broken_rules_of_one_value_are_two_messages(api: Api) -> None:
    body = (await api.call("GET", "/users/xyz")).json
    first, second = (
        '"user" must only contain hexadecimal characters',
        '"user" length must be 24 characters long',
    )
    assert body["error"] == f"{first}. {second}"
    assert body["details"] == {"user": first}


async def test_cursors_lead_forth_and_back(api: Api) -> None:
    made = [await api.make_user(f"user{number}") for number in range(5)]

    async def page(query: str) -> dict[str, Any]:
        return (await api.call("GET", f"/users?limit=2{query}")).json

    first = await page("&next=&previous=")
    assert [row["id"] for row in first["results"]] == made[:2]
    assert (first["page"], first["previousCursor"], first["total"]) == (1, False, 5)
    second = await page(f"&next={first['nextCursor']}")
    third = await page(f"&next={second['nextCursor']}")
    assert [row["id"] for row in second["results"] + third["results"]] == made[2:]
    assert (second["page"], third["page"], third["nextCursor"]) == (2, 3, False)
    back = await page(f"&previous={third['previousCursor']}")
    assert ([row["id"] for row in back["results"]], back["page"]) == (made[2:4], 2)
    start = await page(f"&previous={back['previousCursor']}")
    assert ([row["id"] for row in start["results"]], start["page"], start["previousCursor"]) == (made[:2], 1, False)


async def test_tags_of_accounts_and_of_their_addresses(api: Api) -> None:
    anna = await api.make_user("anna", tags=["Paying", "old"], addTagsToAddress=True)
    bert = await api.make_user("bert", tags=["paying"])
    [own] = (await api.call("GET", f"/users/{anna}/addresses")).json["results"]
    assert own["tags"] == ["old", "Paying"]
    [other] = (await api.call("GET", f"/users/{bert}/addresses")).json["results"]
    assert other.get("tags", []) == []
    for query, found in (
        ("tags=old,paying", [anna, bert]), ("requiredTags=old,PAYING", [anna]), ("requiredTags=paying", [anna, bert]),
        ("tags=old&requiredTags=paying", [anna]), ("tags=none", []),
    ):  # fmt: skip
        listed = (await api.call("GET", f"/users?{query}")).json["results"]
        assert [row["id"] for row in listed] == found, query
    listed = (await api.call("GET", "/addresses?requiredTags=old,paying")).json["results"]
    assert [row["user"] for row in listed] == [anna]


async def test_a_users_token_reaches_its_own_account_alone(api: Api) -> None:
    anna, bob = await api.make_user("anna", tags=["x"]), await api.make_user("bob")
    token = await _user_token(api, anna)
    mine = await api.call("GET", "/users/me", token=token)
    assert (mine.status, mine.json["id"]) == (200, anna)
    assert not {"tags", "disabledScopes", "internalData"} & set(mine.json)
    for method, path, body in [
        ("GET", f"/users/{bob}", None),
        ("PUT", f"/users/{bob}", {"name": "x"}),
        ("DELETE", f"/users/{anna}", None),
        ("GET", "/users", None),
        ("POST", "/users", {"username": "eve", "password": "x"}),
        ("GET", "/users/resolve/anna", None),
        ("POST", "/authenticate", {"username": "anna", "password": "secretvalue"}),
    ]:
        reply = await api.call(method, path, body, token=token)
        assert reply.status == 403, (method, path)
        assert reply.json == {"error": "Not enough privileges", "code": "MissingPrivileges"}
    sent = {"name": "Anna", "quota": 1 << 40, "tags": ["y"], "disabled": True, "internalData": {"y": 1}}
    assert (await api.call("PUT", "/users/me", sent, token=token)).json == {"success": True}
    user = await api.accounts.users.get(anna, SYSTEM)
    assert (user.name, user.limits.quota, user.tags, user.disabled, user.internal_data) == (
        "Anna",
        0,
        ("x",),
        False,
        "{}",
    )


async def test_a_password_change_ends_other_tokens_only(api: Api) -> None:
    user = await api.make_user()
    mine, other = await _user_token(api, user), await _user_token(api, user)
    wrong = await api.call("PUT", "/users/me", {"existingPassword": "x", "password": "newvalue"}, token=mine)
    assert (wrong.status, wrong.json["code"]) == (500, "AuthFail")
    right = {"existingPassword": "secretvalue", "password": "newvalue"}
    assert (await api.call("PUT", "/users/me", right, token=mine)).status == 200
    assert (await api.call("GET", "/users/me", token=mine)).status == 200
    assert (await api.call("GET", "/users/me", token=other)).status == 403
    assert (await api.call("PUT", f"/users/{user}", {"suspended": True})).status == 200
    assert (await api.call("GET", "/users/me", token=mine)).status == 403


async def test_update_failures_are_500(api: Api) -> None:
    reply = await api.call("PUT", f"/users/{NOBODY}", {"name": "x"})
    assert (reply.status, reply.json["code"]) == (500, "UserNotFound")


async def test_the_password_is_stored_as_a_hash_only(api: Api) -> None:
    user: User = await api.accounts.users.get(await api.make_user(), SYSTEM)
    assert user.password_hash.startswith("$argon2id$")
    assert "secretvalue" not in str(await api.accounts.database["users"].find_one({}))
