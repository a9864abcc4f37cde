"""Modified UTF-7 for mailbox names (RFC 3501 §5.1.3), strict both ways: each name has exactly one encoding."""

import binascii
import re

_SHIFTED = re.compile(r"&([^-&]*+)-")  # no shift goes over another: linear, whatever is sent
_ENCODE = re.compile("&|[^\x20-\x7e]+")


class Utf7Error(ValueError):
    """The octets are not the modified UTF-7 of any name."""


def encode(name: str) -> bytes:
    """`name` in modified UTF-7.

    Raises:
        UnicodeEncodeError: `name` holds a lone surrogate.
    """
    return _ENCODE.sub(_shift, name).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    text = found[0]
    if text == "&":
        return "&-"
    encoded = binascii.b2a_base64(text.encode("utf-16-be"), newline=False).rstrip(b"=")
    return f"&{encoded.replace(b'/', b',').decode('ascii')}-"


def decode(data: bytes) -> str:
    """The name that `data` encodes.

    RFC 3501 §5.1.3: no printable US-ASCII in base64, no superfluous shifts ("&U,BTFw-&ZeVnLIqe-" is not permitted).
    Both follow from one rule: what is accepted is what `encode` gives.

    Raises:
        Utf7Error
    """
    try:
        text = data.decode("ascii")
        name = _SHIFTED.sub(_unshift, text)
        canonical = encode(name)
    except ValueError as error:  # binascii and Unicode errors are ValueErrors
        raise Utf7Error("Not modified UTF-7") from error
    if canonical != data:
        raise Utf7Error("Not modified UTF-7")
    return name


def _unshift(found: re.Match[str]) -> str:
    encoded = found[1]
    if not encoded:
        return "&"
    padded = encoded.replace(",", "/") + "=" * (-len(encoded) % 4)
    return binascii.a2b_base64(padded).decode("utf-16-be")
