"""What the index for text is made of: all strings of a message that a search compares with (`storage.textindex`)."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from duckmail.mime.collation import casemap
from duckmail.mime.grams import MAX_TEXT, places
from duckmail.mime.text import decoded_header
from duckmail.mime.words import words
from storage.contents.texts import SearchText
from storage.listed import FIELDS, values
from storage.messages import Messages
from storage.mongo.client import Document
from storage.textsegments import Entry

AT_ONCE = 50  # contents whose text is held


class TextSource:
    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def __call__(self, user: str, mailbox: str, uids: Sequence[int]) -> AsyncIterator[Mapping[int, Entry]]:
        """As `textindex.Source`. Raises: Unavailable."""
        async for documents in self._messages.listed(user, mailbox, uids):
            for start in range(0, len(documents), AT_ONCE):
                part = documents[start : start + AT_ONCE]
                by_content: dict[str, list[Document]] = {}
                for document in part:
                    by_content.setdefault(str(document["content"]), []).append(document)
                async for texts in self._messages.texts(part):
                    yield await asyncio.to_thread(_entries, texts, by_content)


def _entries(texts: Sequence[SearchText], by_content: Mapping[str, Sequence[Document]]) -> dict[int, Entry]:
    found: dict[int, Entry] = {}
    for text in texts:
        header, body = casemap(text.header), _body(text)
        for document in by_content[text.id]:
            whole = casemap(decoded_header(document.get("prefix", b""))) + header
            found[int(document["uid"])] = _entry(whole, body, listed(document))
    return found


def _entry(header: str, body: str | None, others: Sequence[str]) -> Entry:
    if body is None:
        return Entry(None)
    runs = places((header, *others), body)
    return Entry(None) if runs is None else Entry(runs, words(header, body))


def _body(text: SearchText) -> str | None:
    """None: too long to index."""
    pieces: list[str] = []
    room = MAX_TEXT
    for piece in text.body:
        pieces.append(casemap(piece))
        room -= len(piece)
        if room < 0:
            return None
    return "".join(pieces)


def listed(document: Document) -> list[str]:
    """Subject and addresses as they are written in the message document, each a string of its own."""
    return [value for name in FIELDS for value in values(document, name)]
