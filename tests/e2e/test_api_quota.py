"""The limit of messages: set by the API, for one account and for all, and kept on every way in."""

from duckmail.app.listeners import LMTP
from duckmail.services.access import SYSTEM
from tests.support.house import House, Lines

NOBODY = "0123456789abcdef01234567"


async def append(lines: Lines, mailbox: str = "INBOX") -> str:
    return await lines.ask(f"b APPEND {mailbox} {{12+}}\r\nSubject: a\r\n", "b ")


async def deliver(house: House, to: str) -> str:
    lines = await house.connect(LMTP)
    await lines.ask("LHLO client.example", "250 ")
    await lines.ask("MAIL FROM:<x@far.example>")
    return await lines.ask(f"RCPT TO:<{to}>")


async def test_every_way_in(house: House) -> None:
    user = await house.make_user()
    quota = f"/duckmail/users/{user}/quota"
    assert (await house.call("PUT", quota, {"messages": 2})).json == {"success": True}
    lines, _ = await house.imap()
    assert (await append(lines)).startswith("b OK")
    assert (await append(lines)).startswith("b OK")
    assert (await house.call("GET", quota)).json == {
        "success": True,
        "storage": {"allowed": 1 << 30, "used": 24},
        "messages": {"allowed": 2, "used": 2},
        "mailboxes": {"allowed": 1500, "used": 5},
    }
    assert (await append(lines)).startswith("b NO [OVERQUOTA]")
    await lines.ask("s SELECT INBOX", "s ")
    assert (await lines.ask("c COPY 1 Trash", "c ")).startswith("c NO [OVERQUOTA]")
    assert (await deliver(house, "anna@example.com")).startswith("552 5.2.2")
    inbox = (await house.call("GET", f"/users/{user}/mailboxes/resolve?path=INBOX")).json["id"]
    upload = await house.call("POST", f"/users/{user}/mailboxes/{inbox}/messages", {"text": "x"})
    assert (upload.status, upload.json["code"]) == (400, "OverQuotaError")
    # What was removed comes back only where there is room.
    await lines.ask("d STORE 1:2 +FLAGS.SILENT (\\Deleted)", "d ")
    await lines.ask("e EXPUNGE", "e ")
    assert (await append(lines)).startswith("b OK")
    day = {"start": "2020-01-01T00:00:00Z", "end": "2040-01-01T00:00:00Z"}
    assert (await house.call("POST", f"/users/{user}/archived/restore", day)).json["success"]
    while await house.work():
        pass
    assert (await house.call("GET", quota)).json["messages"]["used"] == 1
    # Without the limit there is room again.
    assert (await house.call("PUT", quota, {"messages": 0})).json == {"success": True}
    assert (await deliver(house, "anna@example.com")).startswith("250")
    assert (await append(lines)).startswith("b OK")


async def test_of_all_accounts(house: House) -> None:
    await house.make_user()
    own = await house.make_user("own", messages=5)
    assert (await house.call("POST", "/settings/const:max:messages", {"value": 1})).json["success"]
    for name, room in (("anna", 1), ("own", 5)):
        lines, _ = await house.imap(name)
        for _ in range(room):
            assert (await append(lines)).startswith("b OK")
        assert (await append(lines)).startswith("b NO [OVERQUOTA]")
        assert (await deliver(house, f"{name}@example.com")).startswith("552")
    assert (await house.call("GET", f"/duckmail/users/{own}/quota")).json["messages"] == {"allowed": 5, "used": 5}


async def test_what_is_refused(house: House) -> None:
    user, other = await house.make_user(), await house.make_user("bert")
    quota = "/duckmail/users/{}/quota"
    for method, path, body, status, code in (
        ("GET", quota.format(NOBODY), None, 404, "UserNotFound"),
        ("PUT", quota.format(NOBODY), {"messages": 1}, 404, "UserNotFound"),
        ("PUT", quota.format(user), {"messages": -1}, 400, "InputValidationError"),
        ("PUT", quota.format(user), {}, 400, "InputValidationError"),
    ):
        reply = await house.call(method, path, body)
        assert (reply.status, reply.json["code"]) == (status, code)
    # An account sees its own, and sets none.
    tokens, users = house.services.tokens, house.services.users
    token = await tokens.issue("user", await users.get(user, SYSTEM))
    assert (await house.call("GET", quota.format(user), token=token)).status == 200
    assert (await house.call("GET", quota.format(other), token=token)).status == 403
    assert (await house.call("PUT", quota.format(user), {"messages": 9}, token)).status == 403
