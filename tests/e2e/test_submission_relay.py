"""From a mail program to a second real server: the envelope, the octets, and the fate of every recipient, told once."""

import quopri
import re
from collections.abc import Callable, Iterator

import pytest

from tests.support.queued import Queued
from tests.support.relay import DIE, Relay
from tests.support.server_process import DOMAIN, Account, Databases, ServerProcess, make_message, wait_until

# Seconds between attempts: with its four attempts a message is at its end after about two seconds.
SCHEDULE = ["300 ms", "700 ms", 1]


@pytest.fixture(scope="module")
def server(
    relay: Relay, module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    outbound = {"relay": f"smtp://127.0.0.1:{relay.port}", "schedule": SCHEDULE}
    with ServerProcess(tmp_path_factory.mktemp("relay"), module_databases, {"outbound": outbound}) as running:
        yield running


@pytest.fixture
def anna(server: ServerProcess, request: pytest.FixtureRequest) -> Account:
    return server.add_account("anna." + re.sub(r"\W+", "-", request.node.name.lower())[:40].strip("-"))


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Addresses elsewhere that no other test uses."""
    domain = re.sub(r"\W+", "-", request.node.name.lower().replace("_", "-"))[:40].strip("-")
    return lambda name: f"{name}@{domain}.example"


LONG_LINE = b"x" * 998


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        pytest.param(b".\r\n..\r\n.a\r\n. \r\nend\r\n.\r\n", "", id="dots"),
        pytest.param("Grüße aus Köln, 日本語\r\n".encode(), "BODY=8BITMIME", id="8-bit"),
        pytest.param(b"\x80\xff\xfe\r\n", "BODY=8BITMIME", id="no-utf-8"),
        pytest.param(LONG_LINE + b"\r\n." + LONG_LINE[1:] + b"\r\n", "", id="lines-of-998"),
        pytest.param(b"".join(b".%d a line of a large message\r\n" % n for n in range(30_000)), "", id="a-mebibyte"),
        pytest.param(b"", "", id="no-body"),
        pytest.param(b"\r\n\r\n\r\n", "", id="empty-lines"),
    ],
)
def test_octets_and_envelope(
    body: bytes,
    parameter: str,
    server: ServerProcess,
    relay: Relay,
    anna: Account,
    address: Callable[[str], str],
    queue: Queued,
) -> None:
    message = make_message("octets", sender=anna.address).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body
    first, second = address("first"), address("Second.One")
    identifier = server.submit(anna, message, first, second, mail_options=["BODY=8BITMIME", f"SIZE={len(message)}"])
    wait_until(lambda: relay.seen(first), 10, "the message")
    [taken] = relay.seen(first)
    assert (taken.sender, list(taken.recipients)) == (anna.address, [first, second])
    received, _, rest = taken.octets.partition(b"From: ")
    assert b"From: " + rest == message
    assert re.fullmatch(
        rb"Received: from client \(authenticated\)\r\n"
        rb"\tby mail\.test with ESMTPSA id [0-9a-f]{32};\r\n\t[^\r\n]*\r\n",
        received,
    )
    assert taken.parameters.split() == [f"SIZE={len(taken.octets)}", *([parameter] if parameter else [])]
    assert queue.ended(identifier) == {first: ("relayed", "2.0.0", 1), second: ("relayed", "2.0.0", 1)}
    queue.told(anna, 0)


def test_a_longer_line_is_encoded(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str]
) -> None:
    message = make_message("long", sender=anna.address).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + b"y" * 300_000
    server.submit(anna, message, address("long"))
    wait_until(lambda: relay.seen(address("long")), 10, "the message")
    [taken] = relay.seen(address("long"))
    assert max(map(len, taken.octets.split(b"\r\n"))) <= 998
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in taken.octets
    body = quopri.decodestring(taken.octets.partition(b"\r\n\r\n")[2])
    assert body.rstrip(b"\r\n") == b"y" * 300_000


def test_what_is_missing_is_added_and_bcc_taken_out(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    message = f"From: {anna.address}\r\nBcc: {address('secret')}\r\nSubject: bare\r\n\r\n.\r\n".encode()
    server.submit(anna, message, address("b"), address("secret"))
    wait_until(lambda: relay.seen(address("b")), 10, "the message")
    [taken] = relay.seen(address("b"))
    assert b"secret" not in taken.octets
    assert set(taken.recipients) == {address("b"), address("secret")}
    for name in (b"Date", b"Message-ID", b"From", b"Subject"):
        assert len(re.findall(rb"(?m)^" + name + rb": \S", taken.octets)) == 1
    assert taken.octets.endswith(b"\r\n\r\n.\r\n")


def test_utf8_in_addresses(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    name = address("jörg")
    message = make_message("Grüße 🎉", sender=anna.address, to=name)
    with server.submission(anna) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        assert client.mail(anna.address, ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        assert client.rcpt(name)[0] == 250
        assert client.data(message)[0] == 250
    wait_until(lambda: relay.seen(name), 10, "the message")
    [taken] = relay.seen(name)
    assert set(taken.parameters.split()) == {f"SIZE={len(taken.octets)}", "BODY=8BITMIME", "SMTPUTF8"}
    assert taken.octets.endswith(message)
    assert b" with UTF8SMTPSA id " in taken.octets


def test_dsn_parameters_go_on(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    never, success, plain = address("never"), address("success"), address("plain")
    with server.submission(anna) as client:
        assert client.mail(anna.address, ["RET=HDRS", "ENVID=QQ+2B1"])[0] == 250
        assert client.rcpt(never, ["NOTIFY=NEVER"])[0] == 250
        assert client.rcpt(success, ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;other+2B@a.example"])[0] == 250
        assert client.rcpt(plain)[0] == 250
        assert client.data(make_message("dsn", sender=anna.address))[0] == 250
    wait_until(lambda: relay.seen(plain), 10, "the message")
    [taken] = relay.seen(plain)
    assert taken.parameters.split()[1:] == ["RET=HDRS", "ENVID=QQ+2B1"]
    assert taken.recipients == {
        never: "NOTIFY=NEVER",
        success: "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;other+2B@a.example",
        plain: "",
    }
    # The duty to report went on with the message.
    queue.told(anna, 0)


def test_deferred_then_delivered(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    """At RCPT, then at the end of the data; nobody is told of what ends well."""
    b = address("b")
    relay.replies[b] = ["451 4.7.1 Greylisted", "250 2.1.5 Ok"]
    relay.ends[b] = ["452 4.3.1 Disk full"]
    identifier = server.submit(anna, make_message("later", sender=anna.address), b)
    wait_until(lambda: len(relay.seen(b)) == 2, 60, "the message")
    assert queue.ended(identifier) == {b: ("relayed", "2.0.0", 3)}
    assert [taken.reply for taken in relay.seen(b)] == ["452 4.3.1 Disk full", "250 2.0.0 Taken"]
    queue.told(anna, 0)


@pytest.mark.parametrize("ret", ["FULL", "HDRS", ""])
def test_refused(
    ret: str, server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    b = address("b")
    relay.replies[b] = ["550 5.1.1 No such user"]
    message = make_message("refused", "a line\n.\nof the body", sender=anna.address)
    options = [f"RET={ret}"] if ret else []
    identifier = server.submit(anna, message, b, mail_options=[*options, "ENVID=mine"])
    assert queue.ended(identifier) == {b: ("failed", "5.1.1", 1)}
    [report] = queue.told(anna)
    assert report.statuses == {b: ("failed", "5.1.1")}
    assert report.fields["reporting-mta"] == f"dns; {DOMAIN}"
    assert report.fields["original-envelope-id"] == "mine"
    assert report.recipients[b]["diagnostic-code"] == "smtp; 550 5.1.1 No such user"
    assert report.recipients[b]["remote-mta"] == "dns; 127.0.0.1"
    assert "550 5.1.1 No such user" in report.text
    assert report.message["To"] == anna.address
    assert report.message["From"] == f"Mail Delivery <mailer-daemon@{DOMAIN}>"
    back = report.original.partition(b"From: ")[2]
    assert back.rstrip(b"\r\n") == (message if ret == "FULL" else message.partition(b"\r\n\r\n")[0])[6:].rstrip(b"\r\n")
    assert relay.seen(b) == []


def test_half_refused(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    """Of five recipients two have it at once, one later, two never: one is told of each of those, once."""
    two = [address("first"), address("second")]
    later, unknown, never = address("later"), address("unknown"), address("never")
    relay.replies[later] = ["451 4.2.0 Busy", "250 2.1.5 Ok"]
    relay.replies[unknown] = ["550 5.1.1 No such user"]
    relay.replies[never] = ["450 4.2.1 Mailbox locked"]
    everybody = [two[0], unknown, later, never, two[1]]
    message = make_message("half", sender=anna.address)
    identifier = server.submit(anna, message, *everybody)
    assert queue.ended(identifier) == {
        two[0]: ("relayed", "2.0.0", 1),
        two[1]: ("relayed", "2.0.0", 1),
        later: ("relayed", "2.0.0", 2),
        unknown: ("failed", "5.1.1", 1),
        never: ("failed", "4.4.7", 4),
    }
    told: dict[str, tuple[str, str]] = {}
    for report in queue.told(anna, 2):
        assert not set(told) & set(report.statuses)
        told |= report.statuses
    assert told == {unknown: ("failed", "5.1.1"), never: ("failed", "4.4.7")}
    assert [set(taken.recipients) for taken in relay.seen(two[0])] == [set(two)]
    assert [set(taken.recipients) for taken in relay.seen(later)] == [{later}]
    assert relay.seen(never) == relay.seen(unknown) == []


def test_refused_at_the_end_for_all(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    three = [address(name) for name in "bcd"]
    relay.ends[three[0]] = ["554 5.7.1 Looks like spam"]
    queue.ended(server.submit(anna, make_message("spam", sender=anna.address), *three))
    [report] = queue.told(anna)
    assert report.statuses == dict.fromkeys(three, ("failed", "5.7.1"))
    assert len(relay.seen(three[0])) == 1


@pytest.mark.parametrize("times", [1, 4])
def test_a_remote_that_dies_after_the_data(
    times: int, server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    """Nobody can know whether it has the message: it is sent again. This once may double it, and never loses it."""
    b = address("b")
    relay.ends[b] = [DIE] * times
    identifier = server.submit(anna, make_message("dies", sender=anna.address), b)
    fate = queue.ended(identifier)
    seen = [taken.reply for taken in relay.seen(b)]
    if times == 1:
        assert fate == {b: ("relayed", "2.0.0", 2)}
        assert seen == [DIE, "250 2.0.0 Taken"]
        queue.told(anna, 0)
    else:
        assert fate == {b: ("failed", "4.4.7", 4)}
        assert seen == [DIE] * 4
        [report] = queue.told(anna)
        assert report.statuses == {b: ("failed", "4.4.7")}
        assert "closed the connection instead of answering the end of the message" in report.text


def test_an_outage(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    relay.stop()
    try:
        identifiers = [
            server.submit(anna, make_message(f"outage {number}", sender=anna.address), address(f"b{number}"))
            for number in range(3)
        ]
        queue.tried(identifiers[0])
        [recipient] = queue.message(identifiers[0])["recipients"]
        assert (recipient["state"], recipient["status"]) == ("waiting", "4.4.1")
        assert "Connection refused" in recipient["reply"]
    finally:
        relay.start()
    for number, identifier in enumerate(identifiers):
        [fate] = queue.ended(identifier).values()
        assert fate[:2] == ("relayed", "2.0.0")
        assert len(relay.seen(address(f"b{number}"))) == 1
    queue.told(anna, 0)


def test_success_is_told_when_asked_for(
    server: ServerProcess, relay: Relay, anna: Account, address: Callable[[str], str], queue: Queued
) -> None:
    """By the relay, which knows DSN; here only for the account here."""
    bert = server.add_account("bert.success")
    b = address("b")
    message = make_message("told", sender=anna.address)
    queue.ended(server.submit(anna, message, bert.address, b, rcpt_options=["NOTIFY=SUCCESS,FAILURE"]))
    [report] = queue.told(anna)
    assert report.statuses == {bert.address: ("delivered", "2.1.5")}
    wait_until(lambda: relay.seen(b), 10, "the message")
    assert relay.seen(b)[0].recipients == {b: "NOTIFY=SUCCESS,FAILURE"}
