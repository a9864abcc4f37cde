"""Octets that somebody gives as text: in base64, in hexadecimal, or as they are."""

from duckmail.mime.transfer import decoded

ENCODINGS = ("base64", "hex", "utf8")


def octets_of(content: str | bytes, encoding: str) -> bytes:
    """The octets of `content`; those that are octets already are given back. CPU: of a large one in a thread.

    base64 is read as in mail: what is no digit is skipped, padding may be missing.

    Raises:
        ValueError: not hexadecimal.
    """
    if isinstance(content, bytes):
        return content
    if encoding == "base64":
        # The form of the alphabet that URLs have is read as well.
        digits = content.encode("ascii", "replace").translate(_URL_SAFE)
        return b"".join(decoded(digits, 0, len(digits), "base64"))
    if encoding == "hex":
        return bytes.fromhex(content)
    return content.encode("utf-8", "replace")


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
