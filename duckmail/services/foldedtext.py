"""The text of a body as searches look at it."""

from collections.abc import Iterator

from duckmail.mime.collation import casemap
from storage.contents.texts import SearchText

KEPT = 1024 * 1024  # characters of a body's text that are kept for the next key


class FoldedText:
    """The text of a body without case, piece by piece: decoded once for all keys unless it is long."""

    def __init__(self, text: SearchText) -> None:
        self._text = text
        self._kept: list[str] | None = None

    def __iter__(self) -> Iterator[str]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[str] = []
        size = 0
        for piece in self._text.body:
            folded = casemap(piece)
            size += len(folded)
            if size <= KEPT:
                kept.append(folded)
            yield folded
        if size <= KEPT:
            self._kept = kept


def contains(body: FoldedText, needle: str) -> bool:
    """Whether the text holds `needle`, also across the pieces that it comes in."""
    keep = len(needle) - 1
    tail = ""
    for piece in body:
        text_here = tail + piece
        if needle in text_here:
            return True
        tail = text_here[-keep:] if keep > 0 else ""
    return not needle
