"""Makes hostile inputs out of good ones: the same input for the same random generator, always."""

import random
from collections.abc import Callable, Sequence

LONGEST = 64 * 1024

# What parsers stumble over: ends of lines and of numbers, brackets, quotes, nothing, too much.
WORDS: tuple[bytes, ...] = (
    b"\r\n", b"\n", b"\r", b"\0", b"", b" ", b"\t",
    b'"', b"\\", b"(", b")", b"{", b"}", b"[", b"]", b"<", b">", b"*", b"%",
    b":", b";", b",", b".", b"\r\n.\r\n", b"\n.\n", b"{0}\r\n", b"{1+}\r\n", b"{99999999999}\r\n", b"~{3}\r\n", b"NIL",
    b"0", b"-1", b"4294967295", b"4294967296", b"18446744073709551616", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"&AOk-",
    b"=?utf-8?q?a?=", b"=?", b"--", b"Content-Type: multipart/mixed; boundary=x\r\n\r\n", b"PROXY ", b"\r\n\r\n",
)  # fmt: skip

Mutation = Callable[[random.Random, bytearray, Sequence[bytes], Sequence[bytes]], None]


def _cut(chance: random.Random, data: bytearray) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + int(chance.expovariate(1 / 16)) + 1)


def _flip(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _octet(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _delete(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    start, end = _cut(chance, data)
    del data[start:end]


def _repeat(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    start, end = _cut(chance, data)
    data[end:end] = data[start:end] * chance.choice((1, 2, 3, 10, 100, 1000))


def _word(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    start, end = _cut(chance, data)
    data[start : end if chance.random() < 0.3 else start] = chance.choice(words) * chance.choice((1, 1, 1, 2, 50))


def _splice(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    start, _ = _cut(chance, data)
    data[start:] = other[chance.randint(0, len(other)) :]


def _truncate(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    del data[chance.randint(0, len(data)) :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _octet, _delete, _repeat, _word, _word, _splice, _truncate)


def mutate(chance: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One input, at most `LONGEST` octets: a seed with a few mutations."""
    data = bytearray(chance.choice(seeds))
    for _ in range(1 + int(chance.expovariate(0.5))):
        chance.choice(MUTATIONS)(chance, data, seeds, words)
        del data[LONGEST:]
    return bytes(data)
