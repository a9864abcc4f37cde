"""Base64 as mail has it: with anything between its digits and padding or none."""

import pybase64

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_NOT_DIGITS = bytes(set(range(256)) - set(ALPHABET))


def base64_octets(text: bytes) -> bytes:
    """One run of base64 digits decoded as far as it goes: other characters are skipped, padding may be missing."""
    digits = text.translate(None, _NOT_DIGITS)
    if len(digits) % 4 == 1:
        digits = digits[:-1]  # six bits are no octet
    return pybase64.b64decode(digits + b"=" * (-len(digits) % 4))
