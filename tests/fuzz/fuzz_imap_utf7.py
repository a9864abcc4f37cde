"""Fuzz target: modified UTF-7. What decodes encodes to the same octets; what is refused is refused with Utf7Error."""

from protocols.imap.wire import utf7

SEEDS: list[bytes] = [
    b"INBOX",
    b"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
    b"&U,BTFw-&ZeVnLIqe-",
    b"&2D3eAA-",
    b"&2D0-&3gA-",
    b"&-&AGE-&",
    b"Entw&APw-rfe",
    b"&AAAAAA-",
]


def target(data: bytes) -> None:
    try:
        name = utf7.decode(data)
    except utf7.Utf7Error:
        pass
    else:
        assert utf7.encode(name) == data
        assert len(name) <= len(data)
    text = data.decode("utf-8", "ignore")
    assert utf7.decode(utf7.encode(text)) == text
