"""Certificates that are obtained and renewed by ACME, from a server that really looks."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from duckmail.app.certificates import Presenter
from duckmail.services.access import SYSTEM
from duckmail.services.certs.acme import FIRST_WAIT, Acme
from protocols.net.tls import TlsContexts
from storage.certs import Certificate
from tests.support.acme_server import AcmeServer, acme_server
from tests.support.api import SEALER, Api, open_api
from tests.support.house import open_house
from tests.support.net import make_certificate, shared_contexts

NAME = "mail.example.com"


@pytest.fixture
async def server() -> AsyncIterator[AcmeServer]:
    async with acme_server() as opened:
        yield opened


@pytest.fixture
async def api(
    mongo_uri: str, database_name: str, server: AcmeServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    monkeypatch.setattr("duckmail.clients.acme.PAUSE", 0.05)
    async with open_api(mongo_uri, database_name, acme_directory=server.directory) as opened:
        server.http = opened.base
        yield opened


async def wanted(api: Api, name: str = NAME) -> str:
    """The id of a certificate that ACME is to get."""
    reply = await api.call("POST", "/certs", {"servername": name, "acme": True})
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


async def stored(api: Api, name: str = NAME) -> Certificate:
    found = await api.store.certs.by_name(name)
    assert found is not None
    return found


async def due_in(api: Api) -> timedelta:
    document = await api.store.database["certs"].find_one({"servername": NAME})
    assert document is not None
    found = document["acmeDue"] - datetime.now(UTC)
    assert isinstance(found, timedelta)
    return found


async def look(api: Api) -> None:
    """What the periodic task does, and what comes of it."""
    acme = api.services.acme
    assert isinstance(acme, Acme)
    await acme.look(None)  # type: ignore[arg-type] -- of no use to it
    await api.runner.once()


async def test_a_certificate_is_obtained_and_can_be_presented(api: Api, server: AcmeServer) -> None:
    identifier = await wanted(api)
    await api.runner.once()
    found = (await api.call("GET", f"/certs/{identifier}")).json
    assert (found["hasCert"], found["acme"], found["altNames"]) == (True, True, [NAME])
    assert [host for host, _ in server.fetched] == [NAME]
    certificate = await stored(api)
    own, authority = x509.load_pem_x509_certificates(certificate.chain)
    own.verify_directly_issued_by(authority)
    assert authority == server.authority
    assert timedelta(days=59) < await due_in(api) < timedelta(days=60)
    contexts = TlsContexts.__new__(TlsContexts)
    contexts.__dict__.update(shared_contexts().__dict__)
    presenter = Presenter(api.services.certificates, contexts, api.accounts.pool)
    await presenter.refresh()
    assert isinstance(contexts.stored[NAME], ssl.SSLContext)


async def test_the_challenge_is_answered_by_another_process(
    api: Api, server: AcmeServer, mongo_uri: str, database_name: str
) -> None:
    """The name leads to whichever process is behind the balancer: not to the one that orders."""
    async with open_house(mongo_uri, database_name, slot="other") as other:
        server.http = other.base
        identifier = await wanted(api)
        await api.runner.once()
        assert (await api.call("GET", f"/certs/{identifier}")).json["hasCert"]
        assert [host for host, _ in server.fetched] == [NAME]
        # And it presents what was obtained.
        [found] = await other.services.certificates.presented()
        assert other.services.store.certs is not api.store.certs
        assert found.fingerprint == (await stored(api)).fingerprint


async def test_webhooks_are_told_when_there_is_a_certificate(api: Api, server: AcmeServer) -> None:
    await api.call("POST", "/webhooks", {"type": ["cert.*"], "url": "http://192.0.2.1/"})
    identifier = await wanted(api)
    jobs = api.store.database["webhookjobs"]
    assert await jobs.find({}).to_list(None) == []
    for name in ("cert.created", "cert.updated"):
        await api.runner.once()
        [job] = await jobs.find({}).to_list(None)
        told = {key: job["body"][key] for key in ("ev", "cert", "servername", "fingerprint")}
        fingerprint = (await stored(api)).fingerprint
        assert told == {"ev": name, "cert": identifier, "servername": NAME, "fingerprint": fingerprint}
        await jobs.delete_many({})
        earlier = datetime.now(UTC) - timedelta(seconds=1)
        await api.store.database["certs"].update_one({"servername": NAME}, {"$set": {"acmeDue": earlier}})
        acme = api.services.acme
        assert isinstance(acme, Acme)
        await acme.look(None)  # type: ignore[arg-type] -- of no use to it


async def test_what_is_not_due_is_left_alone_and_renewed_in_time(api: Api, server: AcmeServer) -> None:
    await wanted(api)
    await api.runner.once()
    first = (await stored(api)).fingerprint
    await look(api)
    assert len(server.orders) == 1
    earlier = datetime.now(UTC) - timedelta(seconds=1)
    await api.store.database["certs"].update_one({"servername": NAME}, {"$set": {"acmeDue": earlier}})
    await look(api)
    assert len(server.orders) == 2
    assert (await stored(api)).fingerprint != first
    assert len(server.accounts) == 1


async def test_one_that_lives_for_days_is_renewed_when_a_third_is_left(api: Api, server: AcmeServer) -> None:
    server.lifetime = timedelta(days=6)
    await wanted(api)
    await api.runner.once()
    assert timedelta(days=3.9) < await due_in(api) < timedelta(days=4.1)


async def test_a_name_that_leads_elsewhere(api: Api, server: AcmeServer) -> None:
    server.http = server.base  # where nobody knows of challenges
    identifier = await wanted(api)
    await api.runner.once()
    assert not (await api.call("GET", f"/certs/{identifier}")).json["hasCert"]
    [task] = await api.services.tasks.page(10, SYSTEM)
    assert (task.state.value, "not proved" in task.error) == ("failed", True)
    assert timedelta() < await due_in(api) <= FIRST_WAIT
    await look(api)  # not before its time
    assert len(server.orders) == 1
    # Asked for anew, it is tried at once.
    server.http = api.base
    await wanted(api)
    await api.runner.once()
    assert (await stored(api)).fingerprint


async def test_failures_in_a_row_wait_longer_each_time(api: Api, server: AcmeServer) -> None:
    server.refuse = "rateLimited"
    await wanted(api)
    waits = []
    for _ in range(3):
        await look(api)
        waits.append(await due_in(api))
        earlier = datetime.now(UTC) - timedelta(seconds=1)
        await api.store.database["certs"].update_one({"servername": NAME}, {"$set": {"acmeDue": earlier}})
    assert [round(wait / FIRST_WAIT) for wait in waits] == [1, 3, 9]


async def test_what_was_there_stays_until_the_new_one_is(api: Api, server: AcmeServer, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, NAME)
    given = {"servername": NAME, "privateKey": files.key.read_text(), "cert": files.certificate.read_text()}
    first = (await api.call("POST", "/certs", given)).json["fingerprint"]
    server.refuse = "serverInternal"
    await wanted(api)
    await api.runner.once()
    assert (await stored(api)).fingerprint == first


async def test_a_slow_server_and_bad_nonces(api: Api, server: AcmeServer) -> None:
    server.slow, server.bad_nonces = 2, 1
    await wanted(api)
    await api.runner.once()
    assert (await stored(api)).fingerprint


async def test_an_account_that_is_not_known_any_more_is_made_anew(api: Api, server: AcmeServer) -> None:
    await wanted(api, "one.example.com")
    await api.runner.once()
    server.accounts.clear()
    await wanted(api)
    await api.runner.once()
    assert not (await stored(api)).fingerprint
    await wanted(api)
    await api.runner.once()
    assert (await stored(api)).fingerprint
    assert len(server.accounts) == 1


async def test_no_server(api: Api, server: AcmeServer) -> None:
    acme = api.services.acme
    assert isinstance(acme, Acme)
    acme._authority.directory = "http://127.0.0.1:9/directory"  # type: ignore[misc]
    await wanted(api)
    await api.runner.once()
    [task] = await api.services.tasks.page(10, SYSTEM)
    assert "cannot be reached" in task.error


async def test_removed_in_the_meantime(api: Api, server: AcmeServer) -> None:
    identifier = await wanted(api)
    await api.call("DELETE", f"/certs/{identifier}")
    await api.runner.once()
    assert not server.orders
    assert await api.store.certs.by_name(NAME) is None


async def test_keys_are_sealed_and_challenges_withdrawn(api: Api, server: AcmeServer) -> None:
    await wanted(api)
    await api.runner.once()
    account = await api.store.database["acmeaccounts"].find_one({})
    assert account is not None
    assert b"PRIVATE" not in account["sealed"]
    assert SEALER.unseal(bytes(account["sealed"]), f"acme {server.directory}").startswith(b"-----BEGIN PRIVATE KEY")
    assert b"PRIVATE" not in (await stored(api)).sealed
    _, path = server.fetched[0]
    assert (await api.call("GET", path, token="")).status == 404


@pytest.mark.parametrize("token", ["x", "a" * 40, "..%2f" * 6, "a" * 129])
async def test_challenges_that_nobody_asked_for(api: Api, token: str) -> None:
    reply = await api.call("GET", f"/.well-known/acme-challenge/{token}", token="")
    assert (reply.status, reply.json["code"]) == (404, "ResourceNotFound")
