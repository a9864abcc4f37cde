"""ID (RFC 2971)."""

from protocols.imap.command import ANY, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import id_response

MAX_PAIRS = 30  # RFC 2971 §3.3


def _parse(parser: Parser) -> None:
    """The client's words are read and dropped: they say nothing that the server may rely on."""
    parser.sp()
    if parser.peek() != ord("("):
        if parser.nstring() is not None:
            raise ParseError("Expected a list or NIL")
        return
    values = parser.list_of(parser.nstring, empty=True)
    if len(values) % 2 or len(values) > 2 * MAX_PAIRS or any(name is None for name in values[::2]):
        raise ParseError("Expected pairs of a field and its value")


async def _run(session: Session, _: None) -> Reply:
    settings = session.settings
    fields = [("name", settings.name), ("version", settings.version)]
    session.writer.untagged(id_response(field for field in fields if field[1]))
    return ok("ID completed")


ID = command("ID", ANY, _parse, _run)
