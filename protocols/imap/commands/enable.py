"""ENABLE (RFC 5161; IMAP4rev2: RFC 9051 §6.3.1)."""

from protocols.imap.command import AUTHENTICATED, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import CONDSTORE, IMAP4REV2, QRESYNC, UIDONLY, UTF8_ACCEPT, Session
from protocols.imap.wire.parser import Parser

# RFC 7162 §3.1.8 and §3.2.3, RFC 6855 §3, RFC 9586 §3.
EXTENSIONS = frozenset({CONDSTORE, IMAP4REV2, QRESYNC, UIDONLY, UTF8_ACCEPT})
_SPELLING = {IMAP4REV2: "IMAP4rev2"}


def _parse(parser: Parser) -> list[str]:
    names: list[str] = []
    parser.sp()
    names.append(parser.keyword())
    while parser.try_byte(b" "):
        names.append(parser.keyword())
    return names


async def _run(session: Session, names: list[str]) -> Reply:
    """RFC 5161 §3.1: what is not known is ignored, and the answer lists what this command has enabled."""
    enabled = [name for name in dict.fromkeys(names) if name in EXTENSIONS and name not in session.enabled]
    session.enabled.update(enabled)
    if QRESYNC in enabled:
        session.enabled.add(CONDSTORE)  # RFC 7162 §3.2.3: it is one with it
    session.writer.untagged(" ".join(("ENABLED", *(_SPELLING.get(name, name) for name in enabled))).encode("ascii"))
    return ok("ENABLE completed")


ENABLE = command("ENABLE", AUTHENTICATED, _parse, _run)
