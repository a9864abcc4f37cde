"""What mail programs and other servers find at well-known places: the same for everybody, whoever they say they are."""

from collections.abc import AsyncIterator
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from aiohttp import ClientSession, web

from api.app import make_runner
from api.clientsetup import Found, add_routes
from duckmail.services.clientsetup import (
    LARGEST,
    OUTLOOK,
    Service,
    Setup,
    Unanswerable,
    asked,
    autoconfig,
    autodiscover,
)
from duckmail.services.transport.ownpolicy import OwnPolicy, PolicyText
from duckmail.services.transport.sts import Mode, parse

SETUP = Setup("mail.example.com", "www.example.com", "Example & Sons", (Service("imap", 993), Service("smtp", 465)))
POLICY = PolicyText("testing", ("mail.example.com", "mx2.example.com"), 604800)
REQUEST_SCHEMA = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
MOBILE = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/"


def request(address: str = "anna@example.com", schema: str = OUTLOOK, outer: str = REQUEST_SCHEMA) -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{outer}"><Request>'
        f"<EMailAddress>{address}</EMailAddress>"
        f"<AcceptableResponseSchema>{schema}</AcceptableResponseSchema></Request></Autodiscover>"
    )


def texts(root: Element) -> dict[str, str]:
    """By the name without its namespace; the last one of each."""
    return {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root.iter()}


class Ours:
    async def is_local(self, domain: str) -> bool:
        return domain in {"example.com", "xn--bcher-kva.example"}


@pytest.fixture(scope="module")
async def base() -> AsyncIterator[str]:
    app = web.Application(client_max_size=0)
    add_routes(app, Found(SETUP, OwnPolicy(POLICY, Ours())))
    runner = make_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


async def answered(method: str, url: str, **more: Any) -> tuple[int, str, bytes]:
    async with ClientSession() as session, session.request(method, url, **more) as answer:
        return answer.status, answer.content_type, await answer.read()


@pytest.mark.parametrize("path", ["/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"])
async def test_autoconfig(base: str, path: str) -> None:
    status, kind, body = await answered("GET", f"{base}{path}?emailaddress=nobody@other.example")
    assert (status, kind, body) == (200, "text/xml", autoconfig(SETUP))
    assert b"other.example" not in body
    root = fromstring(body)
    assert root.get("version") == "1.1"
    servers = {each.get("type"): texts(each) for each in root.iter() if each.get("type")}
    assert set(servers) == {"imap", "smtp"}
    assert (servers["imap"]["hostname"], servers["imap"]["port"]) == ("mail.example.com", "993")
    assert servers["smtp"]["port"] == "465"
    assert {each["socketType"] for each in servers.values()} == {"SSL"}
    assert {each["username"] for each in servers.values()} == {"%EMAILADDRESS%"}
    assert root.findtext("emailProvider/displayName") == "Example & Sons"


@pytest.mark.parametrize("path", ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"])
async def test_autodiscover(base: str, path: str) -> None:
    status, kind, body = await answered("POST", base + path, data=request())
    assert (status, kind) == (200, "text/xml")
    root = fromstring(body)
    protocols = [texts(each) for each in root.iter(f"{{{OUTLOOK}}}Protocol")]
    assert [(each["Type"], each["Server"], each["Port"], each["SSL"]) for each in protocols] == [
        ("IMAP", "mail.example.com", "993", "on"),
        ("SMTP", "mail.example.com", "465", "on"),
    ]
    assert {each["LoginName"] for each in protocols} == {"anna@example.com"}
    status, _, body = await answered("GET", base + path)
    assert (status, b"LoginName" in body) == (200, False)


async def test_nobody_learns_whether_there_is_an_account() -> None:
    """Nothing but the name that was given tells the answers apart."""
    known, unknown = autodiscover(SETUP, "anna@example.com"), autodiscover(SETUP, "nobody@example.com")
    assert known.replace(b"anna@", b"nobody@") == unknown


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(request(schema=MOBILE + "responseschema/2006"), "601", id="another schema"),
        pytest.param(
            request(schema=MOBILE + "responseschema/2006", outer=MOBILE + "requestschema/2006"), "601", id="ActiveSync"
        ),
        pytest.param(request(schema=""), "600", id="no schema"),
        pytest.param(request(address="x" * 1000), "600", id="long address"),
        pytest.param("", "600", id="empty"),
        pytest.param("<a>", "600", id="broken"),
        pytest.param('<?xml version="1.0" encoding="nonsense"?><a/>', "600", id="no charset"),
        pytest.param(BOMB, "600", id="entities"),
        pytest.param(ENTITY, "600", id="a file"),
        pytest.param(request() + " " * LARGEST, "600", id="long"),
    ],
)
async def test_what_is_not_answered(base: str, body: str, code: str) -> None:
    status, _, said = await answered("POST", base + "/autodiscover/autodiscover.xml", data=body.encode())
    assert (status, texts(fromstring(said))["ErrorCode"]) == (200, code)
    assert b"root:" not in said


def test_an_address_is_text() -> None:
    wanted = asked(request("a&amp;&lt;b@example.com").encode())
    assert wanted.address == "a&<b@example.com"
    assert b"a&amp;&lt;b@example.com" in autodiscover(SETUP, wanted.address)
    with pytest.raises(Unanswerable):
        asked(b"\xff\xfe\x00")


async def test_autodiscover_json(base: str) -> None:
    for path in (
        "/autodiscover/autodiscover.json/v1.0/anna@example.com?",
        "/autodiscover/autodiscover.json?Email=a@b&",
    ):
        async with ClientSession() as session:
            async with session.get(f"{base}{path}Protocol=AutodiscoverV1") as answer:
                assert await answer.json() == {
                    "Protocol": "AutodiscoverV1",
                    "Url": "https://www.example.com/autodiscover/autodiscover.xml",
                }
            async with session.get(f"{base}{path}Protocol=ActiveSync") as answer:
                assert (answer.status, (await answer.json())["ErrorCode"]) == (400, "InvalidProtocol")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("mta-sts.example.com", 200, id="ours"),
        pytest.param("MTA-STS.example.com.:443", 200, id="as written"),
        pytest.param("mta-sts.xn--bcher-kva.example", 200, id="international"),
        pytest.param("mta-sts.other.example", 404, id="another's"),
        pytest.param("example.com", 404, id="no policy host"),
        pytest.param("mta-sts.", 404, id="no domain"),
    ],
)
async def test_the_policy_of_mta_sts(base: str, host: str, status: int) -> None:
    found, kind, body = await answered("GET", base + "/.well-known/mta-sts.txt", headers={"Host": host})
    assert found == status
    if status == 200:
        policy = parse(body)
        assert (kind, policy.mode, policy.max_age) == ("text/plain", Mode.TESTING, 604800)
        assert policy.allows("mx2.example.com")
        assert not policy.allows("mx3.example.com")


async def test_no_policy_where_it_is_off() -> None:
    assert await OwnPolicy(PolicyText("off", ("a.example",), 86400), Ours()).of_host("mta-sts.example.com") is None


def test_another_policy_has_another_id() -> None:
    assert len({POLICY.id, PolicyText("enforce", POLICY.mx, 604800).id, PolicyText("testing", (), 604800).id}) == 3
    assert POLICY.id.isalnum()
    assert len(POLICY.id) <= 32
