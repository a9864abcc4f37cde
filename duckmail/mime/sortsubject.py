"""The base subject as SORT and THREAD take it (RFC 5256 §2.1), to the letter; threads of the store use `subject`."""

import re

MAX_SUBJECT = 4096  # characters that count

# subj-trailer = "(fwd)" / WSP
_TRAILER = re.compile(r"(?:\(fwd\)|[ \t])$", re.IGNORECASE)
_BLOB = r"\[[^\[\]]*+\][ \t]*+"  # subj-blob = "[" *BLOBCHAR "]" *WSP
_BLOBS = re.compile(rf"(?:{_BLOB})++")
# subj-leader = (*subj-blob subj-refwd) / WSP; subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
_LEADER = re.compile(rf"(?:re|fwd?)[ \t]*+(?:{_BLOB})?:", re.IGNORECASE)
_FORWARD = re.compile(r"\[fwd:(.*)\]", re.IGNORECASE | re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]+")


def base_subject(subject: str) -> tuple[str, bool]:
    """The base subject, in its case, and whether something of a reply or forward was taken away (RFC 5256 §2.1)."""
    text = _BLANKS.sub(" ", subject[:MAX_SUBJECT])  # (1)
    changed = False
    while True:
        text, trailed = _without_trailers(text)  # (2)
        text, led = _without_leaders(text)  # (3) to (5)
        changed = changed or trailed or led
        forward = _FORWARD.fullmatch(text)  # (6)
        if forward is None:
            return text, changed
        text, changed = forward[1], True


def _without_trailers(text: str) -> tuple[str, bool]:
    changed = False
    while match := _TRAILER.search(text):
        changed = changed or text[match.start()] == "("
        text = text[: match.start()]
    return text, changed


def _without_leaders(text: str) -> tuple[str, bool]:
    at = 0
    changed = False
    while at < len(text):
        if text[at] in " \t":
            at += 1
        elif match := _LEADER.match(text, at):
            at, changed = match.end(), True
        elif match := _BLOBS.match(text, at):
            if match.end() == len(text):  # (4): not if nothing is left then
                at = text.rindex("[")
                break
            at = match.end()
        else:
            break
    return text[at:], changed
