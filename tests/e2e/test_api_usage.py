"""What an account uses of its limits, as the API tells it; where mail was sent on to."""

from email.message import EmailMessage

from duckmail.model.account import Principal
from duckmail.model.envelope import Envelope
from duckmail.model.message import NewMessage
from tests.support.house import House
from tests.support.stores import message


async def deliver(house: House, address: str, html: str = "") -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = "b@example.net", address, "hello", "<1@b.example>"
    mail.set_content("hello")
    if html:
        mail.add_alternative(html, subtype="html")
    raw = bytes(mail).replace(b"\n", b"\r\n")
    recipient = await house.services.delivery.recipient(address)
    envelope = Envelope("b@example.net", connection="c", protocol="LMTP")
    (verdict,) = await house.services.delivery.deliver(envelope, raw, [recipient])
    assert verdict.error is None


async def limits(house: House, user: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = (await house.call("GET", f"/users/{user}")).json["limits"]
    return found


async def test_what_is_used(house: House) -> None:
    user = await house.make_user(targets=("c@example.net", "d@example.net"), received_max=2)
    before = await limits(house, user)
    assert all(not row.get("used") and not row.get("ttl") for row in before.values())
    body = {"query": {"from": "x"}, "action": {"seen": True}}
    assert (await house.call("POST", f"/users/{user}/filters", body)).status == 200
    await house.call("POST", f"/users/{user}/submit", {"to": [{"address": "e@example.net"}], "text": "x"})
    await deliver(house, "anna@example.com")
    mail = house.services.mail(Principal(user, "anna"))
    content = await mail.prepare(message(1))
    await mail.append("INBOX", [NewMessage(content)])
    drop = await house.services.maildrops.open(Principal(user, "anna"))
    await drop.close()
    found = await limits(house, user)
    counted = ("filters", "recipients", "forwards", "received", "imapUpload")
    assert [found[name]["used"] for name in counted] == [1, 1, 2, 1, content.size]
    assert all(0 < found[name]["ttl"] <= 86_400 for name in counted[1:])
    await house.call("PUT", f"/users/{user}", {"forwards": 7})
    changed = await limits(house, user)
    assert changed["forwards"] == {"allowed": 7, "used": 0, "ttl": False}
    assert changed["recipients"]["used"] == 1


async def test_appending_is_limited(house: House) -> None:
    user = await house.make_user(imap_max_upload=10)
    lines, _ = await house.imap()
    octets = message(1)
    await lines.ask(f"b APPEND INBOX {{{len(octets)}+}}\r\n{octets.decode()}", "b NO [UNAVAILABLE]")
    assert (await limits(house, user))["imapUpload"]["used"] == 0


async def test_where_it_was_sent_on_to_and_what_of_it_is_shown(house: House) -> None:
    user = await house.make_user(targets=("c@example.net", "smtp://joe:secret@relay.example.net"))
    await deliver(house, "anna@example.com", "<p>x</p><script>alert(1)</script>")
    inbox = (await house.call("GET", f"/users/{user}/mailboxes")).json["results"][0]["id"]
    found = (await house.call("GET", f"/users/{user}/mailboxes/{inbox}/messages/1")).json
    assert [each["type"] for each in found["forwardTargets"]] == ["mail", "relay"]
    assert found["forwardTargets"][0]["value"] == "c@example.net"
    assert found["forwardTargets"][1]["value"] == "smtp://joe:********@relay.example.net"
    assert [each.strip() for each in found["html"]] == ["<p>x</p>"]
    again = await house.call("POST", f"/users/{user}/mailboxes/{inbox}/messages/1/forward", {"target": 1})
    assert again.json["forwarded"][0]["value"] == "c@example.net"
