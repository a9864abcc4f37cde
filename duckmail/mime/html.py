"""The text that HTML shows, near enough for a preview.

Not an HTML parser: those that are one take time quadratic in the nesting (26,000 open `div` in 128 KiB: over a second
in lexbor), and a preview is made of every message that arrives. These are fixed patterns, and linear.
"""

import html
import re

_SILENT_NAMES = "style|script|title|template|noscript|svg|select"
# Both cases written out: with a first octet that has none, `search` runs at the speed of `find`.
_SILENT = re.compile(
    "<(?:!--|(" + re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", _SILENT_NAMES) + r")\b)"
)
# Between these there is a gap on the screen; other tags may stand inside a word.
_BLOCK = re.compile(
    r"</?(?:p(?:re)?|div|b(?:r|ody|lockquote)|h[r1-6]|t(?:[rdh]|able)|li|[uo]l|section|article)\b[^>]*+>?", re.I
)
_TAG = re.compile(r"<[!/?a-zA-Z][^>]*+>?")
_LONG_NUMBER = re.compile(r"&#[0-9a-fA-FxX]{9,}+;?")  # no character, and int() refuses long ones
# What mailers fill previews with: zero-width and joining characters, soft hyphens.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")


def html_text(source: str) -> str:
    """The visible text of `source`, with blanks for block borders; entities are resolved."""
    text = _TAG.sub("", _BLOCK.sub(" ", _without_silent(source)))
    return html.unescape(_LONG_NUMBER.sub("", text)) if "&" in text else text


def collapse(text: str) -> str:
    """`text` on one line, runs of blanks as one, invisible characters left out."""
    return " ".join((text if text.isascii() else _INVISIBLE.sub("", text)).split())


def _without_silent(source: str) -> str:
    """`source` without comments and the elements that are not shown; one never closed takes the rest."""
    lowered = ""
    kept: list[str] = []
    at = 0
    while match := _SILENT.search(source, at):
        lowered = lowered or (source.lower() if source.isascii() else source)
        kept.append(source[at : match.start()])
        closing = "-->" if match[1] is None else f"</{match[1].lower()}"
        at = lowered.find(closing, match.end())
        if at < 0:
            return "".join(kept)
        at += len(closing) if match[1] is None else 0
    kept.append(source[at:])
    return "".join(kept)
