"""Messages at the limits of what is accepted, and what storing one costs.

`python -m tests.support.giants URI DATABASE NAME` prints one line of JSON, in a process of its own, so that the peak of
memory is that of one message.
"""

import asyncio
import base64
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.contents import attachment, multipart, octets, open_store, plain

MIB = 1024 * 1024
HEAD = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: giant\r\nMIME-Version: 1.0\r\n"


def _text() -> bytes:
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    return HEAD + b"Content-Type: text/plain\r\n\r\n" + line * (60 * MIB // len(line))


def _embedded() -> bytes:
    inner = multipart(plain("inside"), attachment(octets(29 * MIB)), boundary="=_inner")
    return HEAD + b"Content-Type: message/rfc822\r\n\r\n" + inner


def _parts() -> bytes:
    return multipart(*(attachment(octets(50_000, number), f"{number}.bin") for number in range(1000)))


def _levels() -> bytes:
    raw = plain("at the bottom " * 1000)
    for level in range(200):
        raw = multipart(raw, plain(f"level {level}"), boundary=f"=_{level}")
    return raw


def _addresses() -> bytes:
    to = ",\r\n ".join(f'"Person {number}" <person{number}@example.org>' for number in range(20_000))
    return f"From: a@example.org\r\nTo: {to}\r\nSubject: all\r\n\r\nhello\r\n".encode()


def _line() -> bytes:
    return HEAD + b"\r\n" + b"x" * (50 * MIB)


def _base64_line() -> bytes:
    head = HEAD + b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.b64encode(octets(37 * MIB))


def _header() -> bytes:
    return b"X-Long: " + b"word " * (10 * MIB) + b"\r\n\r\nbody"


GIANTS: dict[str, Callable[[], bytes]] = {
    "60-mb-text": _text,
    "40-mb-embedded": _embedded,
    "1000-parts": _parts,
    "200-levels": _levels,
    "20000-addresses": _addresses,
    "50-mb-line": _line,
    "50-mb-base64-line": _base64_line,
    "50-mb-header": _header,
}


def _memory(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def _reset_peak() -> int:
    """Resident octets now, from which the peak is counted."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


async def _run(uri: str, name: str, giant: str) -> dict[str, object]:
    raw = GIANTS[giant]()
    digest = hashlib.sha256(raw).digest()
    size = len(raw)
    async with open_store(uri, name) as store:
        await store.add(b"warm: up\r\n\r\n")
        before = _reset_peak()
        start = time.perf_counter()
        prepared = await store.contents.prepare(raw)
        await store.contents.insert_many([prepared])
        stored = time.perf_counter() - start
        storing = _memory("VmHWM") - before
        identifier = prepared.id
        del prepared, raw
        before = _reset_peak()
        start = time.perf_counter()
        content = (await store.contents.load([identifier]))[identifier]
        same = hashlib.sha256()
        async for piece in content.read():
            same.update(piece)
        read = time.perf_counter() - start
        reading = _memory("VmHWM") - before
        before = _reset_peak()
        characters = 0
        start = time.perf_counter()
        async for batch in store.contents.search_texts([identifier]):
            for text in batch:
                characters += len(text.header) + sum(map(len, text.body))
        return {
            "giant": giant,
            "exact": same.digest() == digest,
            "size": size,
            "characters": characters,
            "store_seconds": round(stored, 3),
            "read_seconds": round(read, 3),
            "search_seconds": round(time.perf_counter() - start, 3),
            "storing": storing,
            "reading": reading,
            "searching": _memory("VmHWM") - before,
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(*sys.argv[1:4]))))
