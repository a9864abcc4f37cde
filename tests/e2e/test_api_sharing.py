"""The ACL of mailboxes by the API, and what it does in IMAP: who is given a right has it there, and nowhere else."""

from collections.abc import AsyncIterator

import pytest

from duckmail.services.access import SYSTEM
from tests.support.api import Api, open_api
from tests.support.sessions import imap_session

NOBODY = "0123456789abcdef01234567"
OWNER = {"identifier": "anna", "rights": "lrswipkxtea"}


@pytest.fixture
async def api(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


async def _token(api: Api, user: str) -> str:
    return await api.accounts.tokens.issue("user", await api.accounts.users.get(user, SYSTEM))


async def _inbox(api: Api, user: str) -> str:
    return str((await api.call("GET", f"/users/{user}/mailboxes/resolve?path=INBOX")).json["id"])


async def test_an_acl_is_set_read_and_taken_back(api: Api) -> None:
    anna = await api.make_user("anna")
    await api.make_user("bert")
    acl = f"/duckmail/users/{anna}/mailboxes/{await _inbox(api, anna)}/acl"
    assert (await api.call("GET", acl)).json == {"success": True, "results": [OWNER]}
    for identifier, rights in (("bert", "rlc"), ("anyone", "l"), ("-bert", "x"), ("bert", "rld")):
        reply = await api.call("PUT", acl, {"identifier": identifier, "rights": rights})
        assert reply.json == {"success": True}
    assert (await api.call("GET", acl)).json["results"] == [
        OWNER,
        {"identifier": "bert", "rights": "lrte"},
        {"identifier": "anyone", "rights": "l"},
        {"identifier": "-bert", "rights": "x"},
    ]
    assert (await api.call("DELETE", f"{acl}?identifier=-bert")).json == {"success": True}
    assert (await api.call("PUT", acl, {"identifier": "bert", "rights": ""})).json == {"success": True}
    assert (await api.call("GET", acl)).json["results"] == [OWNER, {"identifier": "anyone", "rights": "l"}]


async def test_what_is_wrong_is_told(api: Api) -> None:
    anna = await api.make_user("anna")
    inbox = await _inbox(api, anna)
    hidden = (await api.call("POST", f"/users/{anna}/mailboxes", {"path": "H", "hidden": True})).json["id"]
    good = {"identifier": "anyone", "rights": "l"}
    for user, mailbox, body, status, code in (
        (anna, inbox, {"identifier": "nobody", "rights": "l"}, 404, "UserNotFound"),
        (anna, inbox, {"identifier": "anna", "rights": "l"}, 400, "DisallowedMailboxMethod"),
        (anna, inbox, {"identifier": "-anna", "rights": "l"}, 400, "DisallowedMailboxMethod"),
        (anna, hidden, good, 400, "DisallowedMailboxMethod"),
        (anna, inbox, {"identifier": "anyone", "rights": "lQ"}, 400, "InputValidationError"),
        (anna, inbox, {"identifier": "anyone", "rights": ["l"]}, 400, "InputValidationError"),
        (anna, inbox, {"identifier": "", "rights": "l"}, 400, "InputValidationError"),
        (anna, inbox, {"identifier": "anyone"}, 400, "InputValidationError"),
        (anna, NOBODY, good, 404, "NoSuchMailbox"),
        (NOBODY, inbox, good, 404, "NoSuchMailbox"),
    ):
        reply = await api.call("PUT", f"/duckmail/users/{user}/mailboxes/{mailbox}/acl", body)
        assert (reply.status, reply.json["code"]) == (status, code), body
    acl = f"/duckmail/users/{anna}/mailboxes/{inbox}/acl"
    assert (await api.call("DELETE", f"{acl}?identifier=nobody")).json["code"] == "UserNotFound"
    assert (await api.call("DELETE", acl)).json["code"] == "InputValidationError"
    assert (await api.call("GET", acl)).json["results"] == [OWNER]


async def test_rights_in_imap_are_none_in_the_api(api: Api) -> None:
    """Who is given everything in IMAP reaches nothing more by the API, nor are others' mailboxes among its own."""
    anna, bert = await api.make_user("anna"), await api.make_user("bert")
    inbox = await _inbox(api, anna)
    acl = f"/duckmail/users/{anna}/mailboxes/{inbox}/acl"
    token = await _token(api, bert)
    assert (await api.call("PUT", acl, {"identifier": "bert", "rights": OWNER["rights"]})).status == 200
    good = {"identifier": "anyone", "rights": "l"}
    for method, path, body in (
        ("GET", acl, None),
        ("PUT", acl, good),
        ("DELETE", f"{acl}?identifier=bert", None),
        ("GET", f"/users/{anna}/mailboxes/{inbox}", None),
        ("GET", f"/users/{anna}/mailboxes/{inbox}/messages", None),
        ("DELETE", f"/users/{anna}/mailboxes/{inbox}/messages", None),
    ):
        assert (await api.call(method, path, body, token=token)).status == 403, path
    for method, path, body in (
        ("GET", acl.replace(anna, bert), None),
        ("PUT", acl.replace(anna, bert), good),
        ("GET", f"/users/{bert}/mailboxes/{inbox}", None),
        ("GET", f"/users/{bert}/mailboxes/resolve?path=Shared/anna/INBOX", None),
    ):
        assert (await api.call(method, path, body, token=token)).status == 404, path
    listed = (await api.call("GET", f"/users/{bert}/mailboxes?showHidden=yes", token=token)).json["results"]
    assert not any(each["path"].startswith("Shared") or each["id"] == inbox for each in listed)
    for path in ("Shared/anna/INBOX/New", "Shared/mine"):
        made = await api.call("POST", f"/users/{bert}/mailboxes", {"path": path}, token=token)
        assert made.json["code"] == "DisallowedMailboxMethod"
    trash = next(each["id"] for each in listed if each["path"] == "Trash")
    moved = await api.call("PUT", f"/users/{bert}/mailboxes/{trash}", {"path": "Shared/anna/INBOX/New"}, token=token)
    assert moved.json["code"] == "DisallowedMailboxMethod"
    assert [each["identifier"] for each in (await api.call("GET", acl)).json["results"]] == ["anna", "bert"]


async def test_what_is_set_by_the_api_is_so_in_imap(api: Api) -> None:
    anna = await api.make_user("anna")
    await api.make_user("bert")
    acl = f"/duckmail/users/{anna}/mailboxes/{await _inbox(api, anna)}/acl"
    async with imap_session(api, "bert") as bert:
        assert (await bert.command("SELECT Shared/anna/INBOX"))[-1].startswith("NO [NONEXISTENT]")
        await bert.command("NOTIFY SET (subtree Shared (MailboxName MessageNew MessageExpunge))")
        await api.call("PUT", acl, {"identifier": "bert", "rights": "lri"})
        assert await bert.line() == r'* LIST (\HasNoChildren) "/" Shared/anna/INBOX'
        await api.call("POST", f"/users/{anna}/mailboxes/{acl.split('/')[5]}/messages", {"raw": "YQ=="})
        assert (await bert.line()).startswith("* STATUS Shared/anna/INBOX (MESSAGES 1 UIDNEXT 2 ")
        assert (await bert.command("SELECT Shared/anna/INBOX"))[-1].startswith("OK [READ-WRITE]")
        await bert.start("IDLE")
        assert await bert.line() == "+ idling"
        await api.call("DELETE", f"{acl}?identifier=bert")
        lines = [await bert.line(), await bert.line()]
        assert "* BYE The selected mailbox is not shared with you any more" in lines
