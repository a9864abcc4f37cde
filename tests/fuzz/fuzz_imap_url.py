"""Fuzz target: IMAP URLs. Only `InvalidUrl` comes out, and what is read says where in the text it ends."""

from protocols.imap.wire.url import InvalidUrl, parse

SEEDS: list[bytes] = [
    b"/INBOX;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2",
    b";UID=20/;SECTION=HEADER",
    b"/a%2Fb%C3%A4/;UID=1/;SECTION=HEADER.FIELDS%20(From)/;PARTIAL=0.1024",
    b"imap://joe;AUTH=*@example.com/INBOX/;UID=20/;SECTION=1.2;EXPIRE=2020-01-01T00:00:00Z;URLAUTH=submit+fred"
    b":internal:91354a473744909de610943775f92038",
    b"imap://example.com/INBOX/;UID=1;URLAUTH=anonymous",
    b"imap:///;UID=1",
    b"/x/;UID=4294967296/;PARTIAL=999999999999999999",
]


def target(data: bytes) -> None:
    try:
        text = data.decode("latin-1")
        url = parse(text)
    except InvalidUrl:
        return
    assert text.startswith(url.rump)
    assert url.uid > 0
    assert bool(url.token) <= bool(url.access)
    assert bool(url.host) <= bool(url.mailbox)
