"""A message's own text as a reader sees it: plain text, and HTML with links to the parts it shows."""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from duckmail.mime import parameters
from duckmail.mime.clean import clean
from duckmail.mime.html import html_text
from duckmail.mime.index import LEAF, MULTIPART, Index, Node
from duckmail.mime.message import Message
from duckmail.mime.text import part_text

MAX_TEXT = 100 * 1024
"""Characters of plain text."""
MAX_HTML = 640 * 1024
"""Characters of HTML, in all pieces."""

_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_CID = re.compile(r"\bcid:([^'\"\s<>()]{1,256})", re.I)


@dataclass(frozen=True, slots=True)
class Display:
    """`html`: a piece for each part, plain ones rendered; empty when the message has no text; safe to show."""

    text: str
    html: list[str]


@dataclass(frozen=True, slots=True)
class _Block:
    """What is shown in one place, as plain text, as HTML, or both."""

    plain: str = ""
    html: str = ""


def display(message: Message, index: Index) -> Display:
    """CPU: decodes all of the text, up to its limits."""
    blocks = _blocks(message, index)
    return Display(
        text="\n".join(block.plain or html_text(block.html).strip() for block in blocks)[:MAX_TEXT],
        html=[clean(piece) for piece in _limited([block.html or rendered(block.plain) for block in blocks])],
    )


def _blocks(message: Message, index: Index) -> list[_Block]:
    found: list[list[_Block]] = [[] for _ in index.nodes]
    # In preorder children come behind their parent: backwards they are there when it needs them.
    for position in range(len(index.nodes) - 1, -1, -1):
        node = index.nodes[position]
        if node.kind is LEAF:
            found[position] = _leaf(message, node)
        elif node.kind is MULTIPART:
            inner = [found[child] for child in index.children(position)]
            joined = [block for blocks in inner for block in blocks]
            found[position] = _alternative(joined) if node.subtype == "alternative" else joined
            for child in index.children(position):
                found[child] = []
    return found[0]


def _leaf(message: Message, node: Node) -> list[_Block]:
    if node.type != "text" or node.subtype not in ("plain", "html"):
        return []
    disposition = parameters.disposition(message.header(node).first(b"content-disposition") or b"")
    if disposition.value == "attachment" or disposition.parameter("filename"):
        return []
    is_html = node.subtype == "html"
    pieces: list[str] = []
    room = MAX_HTML if is_html else MAX_TEXT
    for piece in part_text(message, node):
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            break
    text = "".join(pieces)
    if not text.strip():
        return []
    return [_Block(html=text) if is_html else _Block(plain=text.replace("\r\n", "\n").rstrip("\n"))]


def _alternative(blocks: list[_Block]) -> list[_Block]:
    """RFC 2046 §5.1.4: the same, in several forms."""
    plain = "\n".join(block.plain for block in blocks if block.plain)
    source = "\n".join(block.html for block in blocks if block.html)
    return [_Block(plain, source)] if plain or source else []


def _limited(pieces: list[str]) -> list[str]:
    kept: list[str] = []
    room = MAX_HTML
    for piece in pieces:
        if room <= 0:
            break
        kept.append(piece[:room])
        room -= len(piece)
    return kept


def rendered(text: str) -> str:
    """Plain text as HTML: a paragraph between empty lines."""
    escaped = html.escape(text.strip(), quote=False)
    return "".join(f"<p>{each}</p>" for each in _PARAGRAPHS.split(escaped)).replace("\n", "<br/>\n")


def link_parts(source: str, by_cid: Mapping[str, str], link: Callable[[str], str]) -> str:
    """`source` with `cid:` references to known parts replaced. `by_cid`: Content-ID without <> -> what `link` takes."""

    def replaced(match: re.Match[str]) -> str:
        found = by_cid.get(match[1])
        return link(found) if found else match[0]

    return _CID.sub(replaced, source)
