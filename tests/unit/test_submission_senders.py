"""Who may send as what, in the envelope and in From: two accounts, and all the ways to claim the other's address."""

from collections.abc import AsyncIterator

import pytest

from duckmail.services.senders import matches
from tests.support.submission import SubmissionHouse, shared_submission


@pytest.fixture(scope="module")
async def shared_house(mongo_uri: str) -> AsyncIterator[SubmissionHouse]:
    async with shared_submission(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def house(shared_house: SubmissionHouse) -> SubmissionHouse:
    """With an empty queue."""
    await shared_house.store.database["queue"].delete_many({})
    return shared_house


REST = b"\r\nTo: x@remote.example\r\nMessage-ID: <1@example.com>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0100\r\n\r\nhi\r\n"


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        pytest.param("a@b.example", "a@b.example", True, id="the-address"),
        pytest.param("A@B.example", "a@b.EXAMPLE", True, id="any-case"),
        pytest.param("a@b.example", "aa@b.example", False, id="anchored-before"),
        pytest.param("a@b.example", "a@b.example.evil", False, id="anchored-behind"),
        pytest.param("a@b.example", "a+label@b.example", False, id="no-labels-of-others"),
        pytest.param("a.b@c.example", "ab@c.example", False, id="dots-count"),
        pytest.param("*@b.example", "a@b.example", True, id="domain"),
        pytest.param("*@b.example", "a@sub.b.example", False, id="domain-is-no-suffix"),
        pytest.param("*@b.example", "a@b.example.evil", False, id="domain-is-no-prefix"),
        pytest.param("*@b.example", "a@evil-b.example", False, id="domain-is-whole"),
        pytest.param("*@b.example", '"x@b.example"@evil.example', False, id="domain-in-a-quoted-local-part"),
        pytest.param("*@b.example", '"x@y"@b.example', True, id="quoted-local-part"),
        pytest.param("*@*.b.example", "a@sub.b.example", True, id="subdomains"),
        pytest.param("*@*.b.example", "a@b.example", False, id="subdomains-alone"),
        pytest.param("a@*", "a@any.example", True, id="local-part"),
        pytest.param("a@*", "ba@any.example", False, id="local-part-is-whole"),
        pytest.param("a*@b.example", "anna@b.example", True, id="prefix"),
        pytest.param("a*@b.example", "banna@b.example", False, id="prefix-stands-first"),
        pytest.param("*a@b.example", "anna@b.example", True, id="suffix"),
        pytest.param("*a@b.example", "anna.x@b.example", False, id="suffix-stands-last"),
        pytest.param("a*n*a@b.example", "anna@b.example", True, id="several-stars"),
        pytest.param("a*a@b.example", "a@b.example", False, id="a-sign-is-used-once"),
        pytest.param("a*nna*na@b.example", "anna@b.example", False, id="pieces-do-not-overlap"),
        pytest.param("*", "a@b.example", True, id="anything"),
        pytest.param("*b.example", "a@b.example", True, id="no-at-sign"),
        pytest.param("*b.example", "a@b.example.evil", False, id="no-contains-test"),
        pytest.param("example", "a@b.example", False, id="part-of-an-address"),
        pytest.param("?@b.example", "a@b.example", False, id="no-question-marks"),
        pytest.param(".*@b.example", "a@b.example", False, id="no-expressions"),
        pytest.param("*@xn--bcher-kva.example", "a@bücher.example", True, id="one-spelling-of-a-domain"),
        pytest.param("", "a@b.example", False, id="empty"),
        pytest.param("*" * 127 + "x", "a" * 60 + "@b.example", False, id="many-stars"),
    ],
)
def test_patterns(pattern: str, address: str, expected: bool) -> None:
    assert matches((pattern,), address) is expected
    assert matches(("x@y.example", "*@z.example", pattern), address) is expected


OWN = [
    pytest.param("anna@example.com", id="main-address"),
    pytest.param("post@example.com", id="another-address"),
    pytest.param("An.Na+label@EXAMPLE.com", id="dots-and-label"),
    pytest.param("anna@example.org", id="alias-domain"),
    pytest.param("whoever@anna.example", id="catch-all"),
    pytest.param("team@example.com", id="forwarded-to-the-account"),
    pytest.param("me@listed.example", id="pattern"),
    pytest.param('"an na"@anna.example', id="quoted"),
]
FOREIGN = [
    pytest.param("bert@example.com", id="another-account"),
    pytest.param("bert@example.org", id="another-account-by-alias-domain"),
    pytest.param("nobody@example.com", id="nobody"),
    pytest.param("other@example.com", id="forwarded-to-somebody-else"),
    pytest.param("anna@remote.example", id="other-domain"),
    pytest.param("postmaster@remote.example", id="wildcard-of-all-domains-elsewhere"),
    pytest.param("me@sub.listed.example", id="not-the-pattern"),
    pytest.param("*@anna.example", id="the-wildcard-itself"),
    pytest.param("anna@example.com.evil.example", id="longer-domain"),
]


@pytest.mark.parametrize("where", ["envelope", "From", "Sender"])
@pytest.mark.parametrize("address", OWN)
async def test_own_addresses(house: SubmissionHouse, address: str, where: str) -> None:
    assert (await sent(house, address, where)).startswith("250 2.0.0 OK queued as ")


@pytest.mark.parametrize("where", ["envelope", "From", "Sender"])
@pytest.mark.parametrize("address", FOREIGN)
async def test_foreign_addresses(house: SubmissionHouse, address: str, where: str) -> None:
    before = len(await house.queued())
    assert (await sent(house, address, where)).startswith("553 5.7.1 ")
    assert len(await house.queued()) == before


async def sent(house: SubmissionHouse, address: str, where: str) -> str:
    """The last reply to a message that names the address there."""
    async with house.session() as client:
        await client.login()
        line = b"From: anna@example.com"
        if where != "envelope":
            line = f"From: {'anna@example.com' if where == 'Sender' else address}".encode()
            line += f"\r\nSender: {address}".encode() * (where == "Sender")
        return await client.message(line + REST, sender=address if where == "envelope" else "anna@example.com")


SPOOFED = [
    pytest.param("From: anna@example.com, bert@example.com", "553 5.7.1", id="second-of-two"),
    pytest.param("From: bert@example.com, anna@example.com\r\nSender: anna@example.com", "553 5.7.1", id="with-sender"),
    pytest.param("From: anna@example.com\r\nFrom: bert@example.com", "550 5.6.0", id="second-field"),
    pytest.param("From: bert@example.com\r\nfROM: anna@example.com", "550 5.6.0", id="first-field-in-another-case"),
    pytest.param("From : bert@example.com", "553 5.7.1", id="blank-before-the-colon"),
    pytest.param("From : bert@example.com\r\nFrom: anna@example.com", "550 5.6.0", id="both-spellings"),
    pytest.param("From: anna@example.com\r\nSender: bert@example.com", "553 5.7.1", id="sender"),
    pytest.param("From: anna@example.com\r\nSender: anna@example.com\r\nSender: b@c", "550 5.6.0", id="two-senders"),
    pytest.param("From: Friends: bert@example.com;", "550 5.6.0", id="group"),
    pytest.param("From: Friends: anna@example.com, bert@example.com;", "550 5.6.0", id="group-with-oneself"),
    pytest.param("From: undisclosed:;", "550 5.6.0", id="empty-group"),
    pytest.param("From: bert@example.com (anna@example.com)", "553 5.7.1", id="own-address-in-a-comment"),
    pytest.param("From: (anna@example.com) bert@example.com", "553 5.7.1", id="comment-before"),
    pytest.param("From: bert(x)@example.com", "550 5.6.0", id="comment-inside"),
    pytest.param('From: "anna@example.com" <bert@example.com>', "553 5.7.1", id="own-address-as-quoted-name"),
    pytest.param("From: anna@example.com <bert@example.com>", "553 5.7.1", id="own-address-as-name"),
    pytest.param("From: bert@example.com <anna@example.com>", "553 5.7.1", id="foreign-address-as-name"),
    pytest.param("From: <anna@example.com> <bert@example.com>", "550 5.6.0", id="two-in-brackets"),
    pytest.param("From: <bert@example.com>, <anna@example.com", "550 5.6.0", id="not-closed"),
    pytest.param("From: <@anna.example:bert@example.com>", "550 5.6.0", id="source-route"),
    pytest.param("From: =?utf-8?q?anna=40example.com?= <bert@example.com>", "553 5.7.1", id="encoded-name"),
    pytest.param("From: =?utf-8?q?bert=40example.com=3E?=", "550 5.6.0", id="encoded-word-alone"),
    pytest.param("From: =?utf-8?q?bert?=@anna.example", "550 5.6.0", id="encoded-word-as-local-part"),
    pytest.param("From: =?utf-8?b?YmVydEBleGFtcGxlLmNvbQ==?=@anna.example", "550 5.6.0", id="base64-as-local-part"),
    pytest.param("From:\r\n bert@example.com", "553 5.7.1", id="folded"),
    pytest.param("From: anna@example.com,\r\n\tbert@example.com", "553 5.7.1", id="folded-list"),
    pytest.param("From: bert@exa\r\n mple.com", "550 5.6.0", id="folded-inside"),
    pytest.param("From: bert@example.com\x0b <anna@example.com>", "550 5.6.0", id="control-character"),
    pytest.param('From: "bert@example.com> <anna@example.com>', "550 5.6.0", id="quote-not-closed"),
    pytest.param('From: "a"bert@example.com', "550 5.6.0", id="quotes-before"),
    pytest.param("From: bert @example.com", "550 5.6.0", id="blank"),
    pytest.param("From: bert", "550 5.6.0", id="no-domain"),
    pytest.param("From:", "550 5.6.0", id="empty"),
    pytest.param("Subject: x", "550 5.6.0", id="missing"),
    pytest.param("Resent-From: anna@example.com\r\nFrom: bert@example.com", "553 5.7.1", id="resent"),
    pytest.param("X: y\r\n\r\nFrom: anna@example.com", "550 5.6.0", id="in-the-body"),
]


@pytest.mark.parametrize(("header", "expected"), SPOOFED)
async def test_spoofed_headers(house: SubmissionHouse, header: str, expected: str) -> None:
    async with house.session() as client:
        await client.login()
        for sender in ("anna@example.com", ""):
            assert (await client.message(header.encode() + REST, sender=sender)).startswith(expected)
    assert await house.queued() == []
