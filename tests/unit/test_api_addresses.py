"""Addresses and domain aliases by the API: what may be made, by whom, and what is answered when not."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import TOKEN, Api, open_api


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


@pytest.fixture
async def anna(api: Api) -> str:
    return await api.make_user("anna", address="anna@example.com")


async def token_of(api: Api, username: str) -> str:
    signed = await api.call("POST", "/authenticate", {"username": username, "password": "secretvalue", "token": True})
    assert signed.status == 200, signed.text
    return str(signed.json["token"])


async def made(api: Api, user: str, address: str, **more: object) -> str:
    reply = await api.call("POST", f"/users/{user}/addresses", {"address": address, **more})
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


async def rows(api: Api, user: str) -> dict[str, bool]:
    """The account's addresses, and whether each is the main one."""
    reply = await api.call("GET", f"/users/{user}/addresses")
    return {row["address"]: row["main"] for row in reply.json["results"]}


@pytest.mark.parametrize(
    ("address", "more", "status", "code"),
    [
        pytest.param("second@example.com", {}, 200, None, id="plain"),
        pytest.param("Ünder.Score@BÜCHER.example", {}, 200, None, id="unicode"),
        pytest.param("An.Na@example.com", {}, 400, "AddressExistsError", id="dots-do-not-make-another"),
        pytest.param("a+b@example.com", {}, 400, "InputValidationError", id="label"),
        pytest.param("*@example.com", {}, 400, "InputValidationError", id="wildcard-not-asked-for"),
        pytest.param("*@example.com", {"allowWildcard": True}, 200, None, id="catch-all"),
        pytest.param("sales*@example.com", {"allowWildcard": True}, 200, None, id="prefix"),
        pytest.param("*sales@example.com", {"allowWildcard": True}, 200, None, id="suffix"),
        pytest.param("postmaster@*", {"allowWildcard": True}, 200, None, id="every-domain"),
        pytest.param("a*b@example.com", {"allowWildcard": True}, 400, "InputValidationError", id="star-in-the-middle"),
        pytest.param("*a*@example.com", {"allowWildcard": True}, 400, "InputValidationError", id="two-stars"),
        pytest.param("a*@*", {"allowWildcard": True}, 400, "InputValidationError", id="stars-on-both-sides"),
        pytest.param(f"{'x' * 33}*@example.com", {"allowWildcard": True}, 400, "InputValidationError", id="long"),
        pytest.param(
            "*@example.com", {"allowWildcard": True, "main": True}, 400, "WildcardNotPermitted", id="main-wildcard"
        ),
        pytest.param("no-address", {}, 400, "InputValidationError", id="no-address"),
        pytest.param("root@localhost", {}, 400, "InputValidationError", id="one-label"),
    ],
)
async def test_what_an_address_may_be(
    api: Api, anna: str, address: str, more: dict[str, object], status: int, code: str | None
) -> None:
    reply = await api.call("POST", f"/users/{anna}/addresses", {"address": address, **more})
    assert (reply.status, reply.json.get("code")) == (status, code), reply.text


async def test_the_main_address(api: Api, anna: str) -> None:
    second = await made(api, anna, "second@example.com", main=True)
    assert await rows(api, anna) == {"anna@example.com": False, "second@example.com": True}
    refused = await api.call("DELETE", f"/users/{anna}/addresses/{second}")
    assert (refused.status, refused.json["code"]) == (400, "NotPermitted")
    path = f"/users/{anna}/addresses/{second}"
    assert (await api.call("PUT", path, {"main": False})).json["error"] == "Cannot unset main status"
    assert (await api.call("PUT", path, {"address": "Third@Example.com"})).status == 200
    assert await rows(api, anna) == {"anna@example.com": False, "third@example.com": True}
    assert (await api.call("GET", f"/users/{anna}")).json["address"] == "third@example.com"


async def test_the_first_address_of_an_account_is_the_main_one(api: Api) -> None:
    user = await api.make_user("bert", emptyAddress=True)
    await made(api, user, "*@example.org", allowWildcard=True)
    await made(api, user, "b@example.com")
    await made(api, user, "c@example.com")
    assert await rows(api, user) == {"*@example.org": False, "b@example.com": True, "c@example.com": False}


async def test_wildcards_are_not_renamed(api: Api, anna: str) -> None:
    wildcard = await made(api, anna, "*@example.com", allowWildcard=True)
    path = f"/users/{anna}/addresses/{wildcard}"
    assert (await api.call("PUT", path, {"address": "x@example.com"})).json["code"] == "ChangeNotAllowed"
    assert (await api.call("PUT", path, {"main": True})).json["code"] == "WildcardNotPermitted"
    assert (await api.call("DELETE", path)).status == 200


@pytest.mark.parametrize(
    ("address", "status"),
    [
        pytest.param("second@example.com", 200, id="own-domain"),
        pytest.param("second@example.org", 403, id="other-domain"),
        pytest.param("*@example.com", 403, id="wildcard"),
    ],
)
async def test_what_a_user_may_make(api: Api, anna: str, address: str, status: int) -> None:
    token = await token_of(api, "anna")
    body = {"address": address, "allowWildcard": True}
    assert (await api.call("POST", f"/users/{anna}/addresses", body, token)).status == status
    mine = await made(api, anna, "mine@example.com")
    renamed = await api.call("PUT", f"/users/{anna}/addresses/{mine}", {"address": "x@example.org"}, token)
    assert renamed.status == 403


async def test_another_accounts_addresses_are_out_of_reach(api: Api, anna: str) -> None:
    bert = await api.make_user("bert", address="bert@example.com")
    token = await token_of(api, "anna")
    other = await made(api, bert, "other@example.com")
    for method, path, body in (
        ("GET", f"/users/{bert}/addresses", None),
        ("GET", f"/users/{bert}/addresses/{other}", None),
        ("POST", f"/users/{bert}/addresses", {"address": "third@example.com"}),
        ("PUT", f"/users/{bert}/addresses/{other}", {"name": "mine"}),
        ("DELETE", f"/users/{bert}/addresses/{other}", None),
        ("GET", f"/users/{bert}/addressregister?query=a", None),
        ("GET", "/addresses", None),
        ("GET", "/addresses/resolve/bert@example.com", None),
        ("POST", "/addresses/forwarded", {"address": "f@example.com"}),
        ("PUT", "/addresses/renameDomain", {"oldDomain": "example.com", "newDomain": "example.net"}),
        ("GET", "/domainaliases", None),
        ("POST", "/domainaliases", {"alias": "a.example", "domain": "example.com"}),
    ):
        assert (await api.call(method, path, body, token)).status == 403, path
    # By its own path neither.
    for method, body in (("GET", None), ("PUT", {"name": "mine"}), ("DELETE", None)):
        reply = await api.call(method, f"/users/{anna}/addresses/{other}", body, token)
        assert (reply.status, reply.json["code"]) == (404, "AddressNotFound")


async def test_internal_data_is_not_for_users(api: Api, anna: str) -> None:
    token = await token_of(api, "anna")
    made_id = await made(api, anna, "second@example.com", internalData={"a": 1}, metaData={"b": 2})
    path = f"/users/{anna}/addresses/{made_id}"
    seen = (await api.call("GET", path, token=token)).json
    assert ("internalData" in seen, seen["metaData"]) == (False, {"b": 2})
    await api.call("PUT", path, {"internalData": {"a": 3}}, token)
    assert (await api.call("GET", path)).json["internalData"] == {"a": 1}
    listed = await api.call("GET", f"/users/{anna}/addresses?internalData=true", token=token)
    assert not any("internalData" in row for row in listed.json["results"])


async def test_pages_go_both_ways(api: Api) -> None:
    names = [f"{letter}.x@example.com" for letter in "bdacfe"]
    for name in names:
        await api.call("POST", "/addresses/forwarded", {"address": name, "targets": ["t@away.example"], "tags": ["T"]})
    pages, cursor = [], ""
    while True:
        reply = (await api.call("GET", f"/addresses?limit=2{cursor}")).json
        pages.append([row["address"] for row in reply["results"]])
        if not reply["nextCursor"]:
            break
        cursor = f"&next={reply['nextCursor']}"
    assert pages == [sorted(names)[:2], sorted(names)[2:4], sorted(names)[4:]]
    assert (reply["total"], reply["page"]) == (6, 3)
    back = (await api.call("GET", f"/addresses?limit=2&previous={reply['previousCursor']}")).json
    assert [row["address"] for row in back["results"]] == pages[1]
    for query, count in (
        ("query=d.x", 1), ("query=$.*", 0), ("tags=t,u", 6), ("requiredTags=t,u", 0), ("forward=t@away", 6),
    ):  # fmt: skip
        assert (await api.call("GET", f"/addresses?{query}")).json["total"] == count, query


async def test_forwarded_addresses(api: Api, anna: str) -> None:
    body = {"address": "team@example.com", "targets": ["team@example.com"]}
    assert (await api.call("POST", "/addresses/forwarded", body)).json["error"] == (
        'Can not forward to self "team@example.com"'
    )
    body["targets"] = ["a@away.example", "smtps://user:pass@relay.example:465", "https://hook.example/x"]
    team = (await api.call("POST", "/addresses/forwarded", {**body, "autoreply": {"text": "Hi"}})).json["id"]
    path = f"/addresses/forwarded/{team}"
    found = (await api.call("GET", path)).json
    assert found["limits"] == {"forwards": {"allowed": 2000, "used": 0, "ttl": False}}
    assert found["autoreply"] == {"status": True, "name": "", "subject": "", "text": "Hi", "html": ""}
    await api.call("PUT", path, {"forwards": 0, "autoreply": {"subject": "S"}, "forwardedDisabled": True})
    found = (await api.call("GET", path)).json
    assert (found["autoreply"]["text"], found["autoreply"]["subject"]) == ("Hi", "S")
    assert (found["limits"]["forwards"]["allowed"], found["forwardedDisabled"]) == (2000, True)
    own = (await api.call("GET", "/addresses/resolve/anna@example.com")).json["id"]
    for method, address in (("GET", own), ("DELETE", own), ("GET", "0" * 24)):
        reply = await api.call(method, f"/addresses/forwarded/{address}")
        assert (reply.status, reply.json["code"]) == (404, "AddressNotFound")
    assert (await api.call("DELETE", path)).status == 200
    assert (await api.call("GET", path)).status == 404


@pytest.mark.parametrize(
    ("address", "wildcard", "found"),
    [
        pytest.param("An.Na+label@example.com", False, "anna@example.com", id="exact"),
        pytest.param("anna@alias.example", False, "anna@example.com", id="alias-domain"),
        pytest.param("sales.eu@example.com", False, None, id="wildcards-only-when-asked-for"),
        pytest.param("sales.eu@example.com", True, "sales*@example.com", id="prefix"),
        pytest.param("who@example.com", True, "*@example.com", id="catch-all"),
        pytest.param("who@elsewhere.example", True, None, id="nobody"),
    ],
)
async def test_resolving(api: Api, anna: str, address: str, wildcard: bool, found: str | None) -> None:
    await made(api, anna, "sales*@example.com", allowWildcard=True)
    await made(api, anna, "*@example.com", allowWildcard=True)
    await api.call("POST", "/domainaliases", {"alias": "alias.example", "domain": "example.com"})
    query = "?allowWildcard=true" if wildcard else ""
    reply = await api.call("GET", f"/addresses/resolve/{address.replace('+', '%2B')}{query}")
    assert reply.json.get("address") == found
    assert reply.status == (404 if found is None else 200)


async def test_a_domain_gets_another_name(api: Api, anna: str) -> None:
    await made(api, anna, "*@example.com", allowWildcard=True)
    await made(api, anna, "anna@sub.example.com")
    await api.call("POST", "/addresses/forwarded", {"address": "team@example.com"})
    await api.call("POST", "/domainaliases", {"alias": "alias.example", "domain": "example.com"})
    names = {"oldDomain": "Example.com", "newDomain": "bücher.example"}
    reply = (await api.call("PUT", "/addresses/renameDomain", names)).json
    assert [reply[f"modified{what}"] for what in ("Addresses", "Users", "Dkim", "Aliases")] == [3, 1, 0, 1]
    assert await rows(api, anna) == {
        "*@bücher.example": False, "anna@bücher.example": True, "anna@sub.example.com": False,
    }  # fmt: skip
    assert (await api.call("GET", "/addresses/resolve/team@bücher.example")).status == 200


async def test_a_new_domain_name_that_collides_changes_nothing(api: Api, anna: str) -> None:
    await made(api, anna, "a.nna@example.net")
    names = {"oldDomain": "example.com", "newDomain": "example.net"}
    reply = await api.call("PUT", "/addresses/renameDomain", names)
    assert (reply.status, reply.json["code"]) == (400, "AddressExistsError")
    assert (await rows(api, anna))["anna@example.com"]


async def test_domain_aliases(api: Api) -> None:
    body = {"alias": "XN--BCHER-KVA.example", "domain": "Example.com"}
    alias = (await api.call("POST", "/domainaliases", body)).json["id"]
    again = await api.call("POST", "/domainaliases", {**body, "alias": "bücher.example"})
    assert (again.status, again.json["code"]) == (400, "AliasExists")
    assert (await api.call("GET", f"/domainaliases/{alias}")).json["alias"] == "bücher.example"
    assert (await api.call("GET", "/domainaliases/resolve/xn--bcher-kva.example")).json["id"] == alias
    assert (await api.call("DELETE", f"/domainaliases/{alias}")).status == 200
    for path, text in ((alias, "Invalid or unknown alias"), ("resolve/bücher.example", "This alias does not exist")):
        reply = await api.call("GET", f"/domainaliases/{path}")
        assert (reply.status, reply.json["code"], reply.json["error"]) == (404, "AliasNotFound", text)


async def test_unknown_accounts_and_addresses(api: Api, anna: str) -> None:
    nobody = "0" * 24
    for path in (f"/users/{nobody}/addresses", f"/users/{nobody}/addressregister?query=a"):
        reply = await api.call("GET", path, token=TOKEN)
        assert (reply.status, reply.json["code"]) == (404, "UserNotFound")
    reply = await api.call("POST", f"/users/{nobody}/addresses", {"address": "x@example.com"})
    assert (reply.status, reply.json["code"]) == (404, "UserNotFound")
    assert (await api.call("GET", "/addresses/resolve/x@example.com")).status == 404
    reply = await api.call("GET", f"/users/{anna}/addresses/{nobody}")
    assert (reply.status, reply.json["code"]) == (404, "AddressNotFound")
