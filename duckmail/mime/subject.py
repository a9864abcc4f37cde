"""The base subject: what stays of a Subject when replies and forwards have added to it (RFC 5256 §2.1, simplified)."""

import re

MAX_SUBJECT = 512  # characters that count

# subj-refwd, in the languages mailers write it in, and subj-blob: a mailing list's tag.
_LEADER = re.compile(r"\s*(?:(?:re|fwd?|aw|wg|sv|vs|antw|tr|rif)\s*(?:\[[^\[\]]*\])?\s*:|\[[^\[\]]*\])", re.I)


def base_subject(subject: str) -> str:
    """Without leading `Re:`, `Fwd:` and [tags], in one case, runs of blanks as one."""
    subject = subject[:MAX_SUBJECT]
    at = 0
    while match := _LEADER.match(subject, at):
        at = match.end()
    # A subject that is nothing but a tag is that.
    return " ".join((subject[at:] or subject).casefold().split())
