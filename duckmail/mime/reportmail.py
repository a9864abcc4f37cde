"""A report of a machine as a message: a few words, and a file. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """`kind`: the media type."""

    kind: str
    name: str
    octets: bytes


def message(headers: Sequence[str], boundary: str, words: Sequence[str], file: File) -> bytes:
    """`headers`: lines of ASCII, which say what kind of multipart it is."""
    lines = [
        *headers,
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *words,
        "",
        f"--{boundary}",
        f"Content-Type: {file.kind}",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f'\tfilename="{file.name}"',
        "",
        *base64.encodebytes(file.octets).decode("ascii").splitlines(),
        f"--{boundary}--",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
