"""The MX listener of a running server: by smtplib and swaks to IMAP, behind a PROXY header, with DNS of its own."""

import asyncio
import contextlib
import http.client
import shutil
import smtplib
import socket
import subprocess
from collections.abc import AsyncIterator
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.dns_server import dns_server
from tests.support.mx import CLIENT, STRANGER, ZONE
from tests.support.net import client_context
from tests.support.server_process import (
    CLIENT_SECONDS,
    HOST,
    Account,
    Databases,
    ServerProcess,
    make_message,
    wait_until,
)

BALANCER = "127.0.0.2"


class Proxied(smtplib.SMTP):
    """Says by a PROXY header that it comes from `client`."""

    def __init__(self, port: int, client: str) -> None:
        self._header = f"PROXY TCP4 {client} 192.0.2.1 40000 25\r\n".encode()
        super().__init__(HOST, port, "client.good.example", CLIENT_SECONDS, (BALANCER, 0))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        found: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        found.sendall(self._header)
        return found


@pytest.fixture(scope="module")
async def world(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ServerProcess, Account]]:
    folder = tmp_path_factory.mktemp("mx")
    async with dns_server(ZONE) as dns:
        sections: dict[str, dict[str, Any]] = {
            "mx": {"listen": [f"{HOST}:0"], "blocklists": ["bl.example"], "exempt": []},
            "proxy": {"peers": [f"{BALANCER}/32"]},
            "outbound": {"nameservers": [dns.address]},
            "mailauth": {"timeout": 60},
        }
        server = ServerProcess(folder, module_databases, sections)
        await asyncio.to_thread(server.start)
        try:
            yield server, await asyncio.to_thread(server.add_account, "anna.mx")
            await asyncio.to_thread(server.stop)
        finally:
            server.kill()


def scrape(server: ServerProcess) -> str:
    with urlopen(f"http://{HOST}:{server.port('Metrics')}/metrics", timeout=CLIENT_SECONDS) as answer:
        page: bytes = answer.read()
    return page.decode()


World = tuple[ServerProcess, Account]


async def test_from_a_client_to_imap(world: World) -> None:
    """What came is what IMAP shows, below the fields of this server."""
    server, anna = world
    message = make_message("from afar", sender="a@good.example")

    def play() -> list[bytes]:
        with Proxied(server.port("MX"), CLIENT) as client:
            client.starttls(context=client_context())
            assert client.sendmail("a@good.example", [anna.address], message, ["BODY=8BITMIME"]) == {}
        return server.messages(anna)

    (found,) = await asyncio.to_thread(play)
    assert found.endswith(message)
    above = found[: -len(message)]
    assert b"spf=pass smtp.mailfrom=a@good.example" in above
    assert b"dmarc=pass (p=reject) header.from=good.example" in above
    assert b"\r\nReceived: from client.good.example ([93.184.216.34])\r\n\tby mail.test with ESMTPS id " in above


async def test_what_is_refused(world: World) -> None:
    server, anna = world
    message = make_message("forged", sender="a@good.example")

    def play() -> list[tuple[int, bytes]]:
        said = []
        with Proxied(server.port("MX"), CLIENT) as client:
            client.ehlo()
            client.mail("a@good.example")
            said.append(client.rcpt("x@remote.example"))
        with Proxied(server.port("MX"), STRANGER) as client:
            client.ehlo()
            client.mail("a@good.example")
            said.append(client.rcpt(anna.address))  # listed
            assert client.rcpt("postmaster@mail.test")[0] in {250, 451}
        with Proxied(server.port("MX"), "1.1.1.1") as client:
            client.ehlo()
            client.mail("a@good.example")
            assert client.rcpt(anna.address)[0] == 250
            said.append(client.data(message))  # DMARC
        return said

    said = await asyncio.to_thread(play)
    assert [(code, text.split(b" ")[0]) for code, text in said] == [(550, b"5.7.1")] * 3

    def story() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.api("GET", "/duckmail/trace?messageId=forged@example.org")["results"]
        return found

    await asyncio.to_thread(wait_until, story, 20, "the story of what was refused")
    (told,) = await asyncio.to_thread(story)
    assert (told["step"], told["user"], told["about"]["from"]) == ("refused", anna.id, "1.1.1.1")
    assert "DMARC" in told["about"]["error"]
    figures = (await asyncio.to_thread(scrape, server)).splitlines()
    for reason in ("relay", "listed", "dmarc"):
        assert f'duckmail_mx_refused_total{{reason="{reason}"}} 1.0' in figures
    refused = [line for line in server.log_lines() if line.get("reason") in {"relay", "listed", "dmarc"}]
    assert [line["peer"] for line in refused] == [CLIENT, STRANGER, "1.1.1.1"]


async def test_what_the_domain_has_at_well_known_places(world: World) -> None:
    """The policy of MTA-STS for who sends to it, and the settings for who reads there, without a token."""
    server, anna = world
    domain = anna.address.partition("@")[2]

    def asked(path: str, host: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, server.port("API"), timeout=CLIENT_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    policy = await asyncio.to_thread(asked, "/.well-known/mta-sts.txt", f"mta-sts.{domain}")
    assert policy == (200, "version: STSv1\r\nmode: testing\r\nmx: mail.test\r\nmax_age: 604800\r\n")
    assert (await asyncio.to_thread(asked, "/.well-known/mta-sts.txt", "mta-sts.remote.example"))[0] == 404
    status, settings = await asyncio.to_thread(asked, "/mail/config-v1.1.xml", f"autoconfig.{domain}")
    assert (status, "<hostname>mail.test</hostname>" in settings) == (200, True)


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
async def test_swaks(world: World) -> None:
    server, anna = world
    argv = ["swaks", "--server", HOST, "--port", str(server.port("MX")), "--helo", "client.example", "--pipeline"]
    argv += ["--from", "b@none.example", "--to", anna.address, "--tls", "--header", "Subject: by swaks"]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "250-LIMITS RCPTMAX=100" in done.stdout
    found = await asyncio.to_thread(server.messages, anna)
    assert any(b"Subject: by swaks\r\n" in each for each in found)
