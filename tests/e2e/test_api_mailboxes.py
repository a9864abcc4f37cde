"""The tag Mailboxes over HTTP, and IMAP sessions beside it."""

import pytest

from duckmail.services.access import SYSTEM
from tests.support.api import Api
from tests.support.sessions import imap_session

NOBODY = "0123456789abcdef01234567"
_BAD = "InputValidationError"
_NOT = "DisallowedMailboxMethod"


async def _listed(api: Api, user: str, query: str = "") -> list[dict[str, object]]:
    results = (await api.call("GET", f"/users/{user}/mailboxes?{query}")).json["results"]
    assert isinstance(results, list)
    return results


async def test_a_mailbox_is_made_read_changed_and_removed(api: Api) -> None:
    user = await api.make_user()
    mailboxes = f"/users/{user}/mailboxes"
    made = await api.call("POST", mailboxes, {"path": "/inbox/Work", "retention": 5000, "hidden": "no"})
    assert made.json == {"success": True, "id": made.json["id"]}
    one = f"{mailboxes}/{made.json['id']}"
    read = (await api.call("GET", one.replace("a", "A").replace("/mAilboxes", "/mailboxes"))).json
    assert read | {"modifyIndex": 1} == {
        "success": True,
        "id": made.json["id"],
        "name": "Work",
        "path": "INBOX/Work",
        "modifyIndex": 1,
        "subscribed": True,
        "encryptMessages": False,
        "hidden": False,
        "total": 0,
        "unseen": 0,
    }
    resolved = (await api.call("GET", f"{mailboxes}/resolve?path=INBOX/Work")).json
    assert resolved == read
    inbox = (await api.call("GET", f"{mailboxes}/resolve", params={"path": "inbox"})).json
    assert (inbox["path"], inbox["specialUse"]) == ("INBOX", None)

    assert (await api.call("PUT", one, {"path": "Work", "hidden": True, "retention": 0})).json == {"success": True}
    listed = {row["path"]: row for row in await _listed(api, user, "showHidden=1")}
    assert listed["Work"]["hidden"] is True
    assert "retention" not in listed["Work"]
    assert "Work" not in [row["path"] for row in await _listed(api, user)]
    assert (await api.call("PUT", one, {"hidden": False, "subscribed": False})).status == 200
    assert (await api.call("DELETE", one)).json == {"success": True}
    assert (await api.call("GET", one)).status == 404


async def test_the_list_has_its_order_and_what_is_asked_for(api: Api) -> None:
    user = await api.make_user()
    for path in ("zoo", "INBOX/b", "Alpha", "INBOX/a", "beta"):
        assert (await api.call("POST", f"/users/{user}/mailboxes", {"path": path})).status == 200
    identifier = next(row["id"] for row in await _listed(api, user) if row["path"] == "Alpha")
    await api.call("PUT", f"/users/{user}/mailboxes/{identifier}", {"subscribed": "no"})
    rows = await _listed(api, user)
    assert [row["path"] for row in rows] == [
        *("INBOX", "INBOX/a", "INBOX/b", "beta", "Drafts", "Junk", "Sent Mail", "Trash", "zoo", "Alpha")
    ]
    assert "total" not in rows[0]
    assert rows[0]["specialUse"] is None
    assert "specialUse" not in rows[1]
    special = await _listed(api, user, "specialUse=true&counters=true&sizes=true")
    assert [row["specialUse"] for row in special] == [None, "\\Drafts", "\\Junk", "\\Sent", "\\Trash"]
    assert (special[0]["total"], special[0]["unseen"]) == (0, 0)
    assert "size" not in special[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("GET", "/users/{nobody}/mailboxes", None, 404, "UserNotFound", id="list-no-user"),
        pytest.param("POST", "/users/{nobody}/mailboxes", {"path": "a"}, 404, "UserNotFound", id="create-no-user"),
        pytest.param("GET", "/users/{user}/mailboxes/{nobody}", None, 404, "NoSuchMailbox", id="get-unknown"),
        pytest.param("PUT", "/users/{user}/mailboxes/{nobody}", {"path": "a"}, 404, "NoSuchMailbox", id="put-unknown"),
        pytest.param("PUT", "/users/{user}/mailboxes/{nobody}", {"hidden": 1}, 404, "NoSuchMailbox", id="hide-unknown"),
        pytest.param("DELETE", "/users/{user}/mailboxes/{nobody}", None, 404, "NoSuchMailbox", id="delete-unknown"),
        pytest.param("GET", "/users/{user}/mailboxes/{foreign}", None, 404, "NoSuchMailbox", id="get-foreign"),
        pytest.param("PUT", "/users/{user}/mailboxes/{foreign}", {"hidden": 1}, 404, "NoSuchMailbox", id="put-foreign"),
        pytest.param("DELETE", "/users/{user}/mailboxes/{foreign}", None, 404, "NoSuchMailbox", id="delete-foreign"),
        pytest.param("GET", "/users/{user}/mailboxes/resolve?path=no", None, 404, "NoSuchMailbox", id="no-path"),
        pytest.param("POST", "/users/{user}/mailboxes", {"path": "Junk"}, 400, "MailboxExistsError", id="exists"),
        pytest.param("PUT", "/users/{user}/mailboxes/{trash}", {"path": "Junk"}, 400, "MailboxExistsError", id="taken"),
        pytest.param("PUT", "/users/{user}/mailboxes/{inbox}", {"path": "x"}, 400, _NOT, id="inbox"),
        pytest.param("DELETE", "/users/{user}/mailboxes/{inbox}", None, 400, _NOT, id="no-inbox"),
        pytest.param("DELETE", "/users/{user}/mailboxes/{trash}", None, 400, _NOT, id="special"),
        pytest.param("PUT", "/users/{user}/mailboxes/{trash}", {}, 400, None, id="nothing"),
        pytest.param("GET", "/users/{user}/mailboxes/resolve", None, 400, "InputValidationError", id="no-path-given"),
        pytest.param("GET", "/users/{user}/mailboxes/zz", None, 400, "InputValidationError", id="no-id"),
        *[
            pytest.param("POST", "/users/{user}/mailboxes", {"path": path}, 400, _BAD, id=f"bad-{name}")
            for name, path in (
                ("double", "a//b"), ("end", "a/"), ("long", "x" * 513), ("deep", "/".join("x" * 129)), ("empty", ""),
                ("control", "a\r\nb"), ("kind", 5),
            )
        ],
    ],
)  # fmt: skip
async def test_refused(api: Api, method: str, path: str, body: object, status: int, code: str | None) -> None:
    user, other = await api.make_user(), await api.make_user("bert")
    ids = {str(row["path"]).lower(): row["id"] for row in await _listed(api, user)}
    foreign = (await api.call("POST", f"/users/{other}/mailboxes", {"path": "own"})).json["id"]
    named = path.format(user=user, nobody=NOBODY, foreign=foreign, inbox=ids["inbox"], trash=ids["trash"])
    reply = await api.call(method, named, body)
    assert (reply.status, reply.json.get("code")) == (status, code), reply.text
    assert reply.json["error"]


async def test_a_user_reaches_its_own_mailboxes_alone(api: Api) -> None:
    anna, bert = await api.make_user(), await api.make_user("bert")
    token = await api.accounts.tokens.issue("user", await api.accounts.users.get(anna, SYSTEM))
    assert (await api.call("GET", "/users/me/mailboxes", token=token)).status == 200
    mine = (await api.call("POST", "/users/me/mailboxes", {"path": "mine"}, token=token)).json["id"]
    assert (await api.call("PUT", f"/users/me/mailboxes/{mine}", {"path": "yours"}, token=token)).status == 200
    theirs = (await api.call("POST", f"/users/{bert}/mailboxes", {"path": "own"})).json["id"]
    for method, path, body in (
        ("GET", f"/users/{bert}/mailboxes", None),
        ("POST", f"/users/{bert}/mailboxes", {"path": "x"}),
        ("GET", f"/users/{bert}/mailboxes/{theirs}", None),
        ("GET", f"/users/{bert}/mailboxes/resolve?path=INBOX", None),
        ("PUT", f"/users/{bert}/mailboxes/{theirs}", {"hidden": True}),
        ("DELETE", f"/users/{bert}/mailboxes/{theirs}", None),
    ):
        reply = await api.call(method, path, body, token=token)
        assert (reply.status, reply.json["code"]) == (403, "MissingPrivileges"), (method, path)


async def test_the_api_and_imap_see_one_tree(api: Api) -> None:
    user = await api.make_user()
    mailboxes = f"/users/{user}/mailboxes"
    async with imap_session(api) as imap:
        made = (await api.call("POST", mailboxes, {"path": "Über/uns"})).json["id"]
        names = await imap.command('LIST "" "*"')
        assert any("&ANw-ber/uns" in line for line in names)
        await api.call("PUT", f"{mailboxes}/{made}", {"path": "plain", "subscribed": False})
        assert not any("plain" in line for line in (await imap.command('LSUB "" "*"'))[:-1])
        assert any("plain" in line for line in (await imap.command('LIST "" "*"'))[:-1])
        await api.call("PUT", f"{mailboxes}/{made}", {"hidden": True})
        assert not any("plain" in line for line in (await imap.command('LIST "" "*"'))[:-1])

        assert (await imap.command("CREATE ours"))[-1].startswith("OK")
        found = (await api.call("GET", f"{mailboxes}/resolve?path=ours")).json
        assert (await imap.command("RENAME ours theirs"))[-1].startswith("OK")
        assert (await api.call("GET", f"{mailboxes}/{found['id']}")).json["path"] == "theirs"
        assert (await imap.command("UNSUBSCRIBE theirs"))[-1].startswith("OK")
        assert (await api.call("GET", f"{mailboxes}/{found['id']}")).json["subscribed"] is False
        assert (await imap.command("DELETE theirs"))[-1].startswith("OK")
        assert (await api.call("GET", f"{mailboxes}/{found['id']}")).status == 404

        other = (await api.call("POST", mailboxes, {"path": "short"})).json["id"]
        assert (await imap.command("SELECT short"))[-1].startswith("OK")
        await api.call("DELETE", f"{mailboxes}/{other}")
        last = (await imap.command("NOOP"))[-1]
        assert not any("short" in line for line in (await _last_list(api)))
        assert last.startswith(("BYE", "NO", "OK"))


async def _last_list(api: Api) -> list[str]:
    async with imap_session(api) as imap:
        return (await imap.command('LIST "" "*"'))[:-1]
