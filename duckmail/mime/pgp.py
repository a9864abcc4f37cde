"""PGP/MIME: a message taken apart into what stays readable and what is encrypted, and put together again."""

import re
import secrets

_FIELD = re.compile(rb".*?\r\n(?![ \t])", re.S)
_ENCRYPTED = re.compile(rb"^content-type:\s*(?:multipart/encrypted|application/(?:x-)?pkcs7-mime)\b", re.I)
_BEGIN, _END = b"-----BEGIN PGP MESSAGE-----", b"-----END PGP MESSAGE-----"
BLANKS = 64  # octets of blanks that may be around an armored message
_OF_MIME = (b"content-", b"mime-version:")


def is_encrypted(raw: bytes | bytearray) -> bool:
    """Whether its sender, or whoever sent it on, has encrypted it already, by OpenPGP or S/MIME.

    A body that is one armored message and nothing else is so too.
    """
    header, body = _split(raw)
    if any(_ENCRYPTED.match(field) for field in header):
        return True
    begins = body[: len(_BEGIN) + BLANKS].lstrip().startswith(_BEGIN)
    return begins and body[-len(_END) - BLANKS :].rstrip().endswith(_END) and body.count(_BEGIN) == 1


def entity(raw: bytes | bytearray) -> bytes:
    """What is to be encrypted: the body with the fields that say what it is."""
    header, body = _split(raw)
    # RFC 3156 §4: the data is a MIME entity with its own content headers.
    fields = b"".join(field for field in header if field.lower().startswith(b"content-"))
    return (fields or b"Content-Type: text/plain\r\n") + b"\r\n" + body


def enclosed(raw: bytes | bytearray, armored: bytes) -> bytes:
    """The message with `armored` in the place of its body; its other header fields stay as they are."""
    header, _ = _split(raw)
    fields = b"".join(field for field in header if not field.lower().startswith(_OF_MIME))
    mark = f"=_{secrets.token_hex(16)}".encode()
    ciphertext = b"\r\n".join(armored.splitlines())
    # RFC 3156 §4: exactly two parts, a control part "Version: 1" and the data.
    return (
        fields + b"MIME-Version: 1.0\r\n"
        b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";\r\n\tboundary="'
        + mark
        + b'"\r\n\r\n'
        b"--" + mark + b"\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
        b"--" + mark + b"\r\nContent-Type: application/octet-stream; name=encrypted.asc\r\n"
        b"Content-Disposition: inline; filename=encrypted.asc\r\n\r\n" + ciphertext + b"\r\n\r\n"
        b"--" + mark + b"--\r\n"
    )


def _split(raw: bytes | bytearray) -> tuple[list[bytes], bytes]:
    """Header fields with their line ends, and the body."""
    if raw[:2] == b"\r\n":
        return [], bytes(raw[2:])
    end = raw.find(b"\r\n\r\n")
    block, body = (bytes(raw), b"") if end < 0 else (bytes(raw[: end + 2]), bytes(raw[end + 4 :]))
    return _FIELD.findall(block if block.endswith(b"\r\n") else block + b"\r\n"), body
