"""With the check of senders on: what mail clients, the API and Junk show of it."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.dns_server import dns_server
from tests.support.server_process import Account, Databases, ServerProcess, deliver, make_message, wait_until

DATABASE = "t_mailauth"
CLIENT = "93.184.216.34"
ZONE = {
    ("good.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
    ("_dmarc.good.example", "TXT"): ["v=DMARC1; p=reject"],
}
FORGED = b"Authentication-Results: %s; spf=pass smtp.mailfrom=bank.example\r\n"


def from_outside(server: ServerProcess, account: Account, message: bytes, sender: str, address: str) -> None:
    with server.lmtp() as client:
        assert client.docmd("XFORWARD", f"ADDR={address} HELO=client.example")[0] == 250
        assert [code for code, _ in deliver(client, message, account.address, sender=sender)] == [250]


def play(server: ServerProcess) -> None:
    anna = server.add_account("anna.mailauth")
    good = FORGED % b"duckmail.test" + make_message("good", sender="a@good.example")
    from_outside(server, anna, good, "a@good.example", CLIENT)
    from_outside(server, anna, make_message("bad", sender="a@good.example"), "a@good.example", "8.8.8.8")
    (taken,) = server.messages(anna)
    assert taken.endswith(good)
    assert b"spf=pass smtp.mailfrom=a@good.example" in taken[: -len(good)]
    assert b"dmarc=pass (p=reject) header.from=good.example" in taken[: -len(good)]
    (junk,) = server.messages(anna, "Junk")
    assert b"spf=fail" in junk
    assert b"dmarc=fail (p=reject) header.from=good.example" in junk
    boxes = server.api("GET", f"/users/{anna.id}/mailboxes")["results"]
    (inbox,) = [box["id"] for box in boxes if box["path"] == "INBOX"]
    found = server.api("GET", f"/users/{anna.id}/mailboxes/{inbox}/messages/1")
    # Not what the message itself says.
    assert found["verificationResults"] == {"tls": False, "spf": "good.example", "dkim": False}
    told = {name: story(server, name) for name in ("good", "bad")}
    assert (told["good"]["checks"]["spf"], told["bad"]["checks"]["spf"]) == (
        "pass (good.example)",
        "fail (good.example)",
    )
    assert (told["good"]["checks"]["dmarc"], told["bad"]["checks"]["dmarc"]) == (
        "pass (good.example)",
        "fail (good.example)",
    )
    assert [(each["client"], each["path"], each.get("spam")) for each in told.values()] == [
        (CLIENT, "INBOX", None),
        ("8.8.8.8", "Junk", True),
    ], "why it is in Junk is told"


def story(server: ServerProcess, name: str) -> dict[str, Any]:
    """What is told of its delivery."""

    def found() -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = server.api("GET", f"/duckmail/trace?messageId={name}@example.org")["results"]
        return results

    wait_until(found, 20, f"the story of {name}")
    (step,) = found()
    about: dict[str, Any] = step["about"]
    return about


async def test_what_is_found_is_shown_and_sorted(mongo_uri: str, redis_url: str, tmp_path: Path) -> None:
    databases = Databases(mongo_uri, DATABASE, redis_url, f"{DATABASE}:")
    async with dns_server(ZONE) as dns:
        sections = {"mailauth": {"enabled": True}, "outbound": {"nameservers": [dns.address]}}

        def run() -> None:
            with ServerProcess(tmp_path, databases, sections) as server:
                play(server)

        await asyncio.to_thread(run)
