"""CREATE (RFC 3501 §6.3.3; parameters: RFC 4466 §2.2; USE: RFC 6154 §5.2; MAILBOXID: RFC 8474 §4.1)."""

from dataclasses import dataclass

from duckmail.model.mailbox import CREATABLE_USES, SEPARATOR
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, no, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser

USES = {use.upper(): use for use in CREATABLE_USES}
_NO_SUCH_USE = no("No mailbox can be created for this use", "USEATTR")


@dataclass(frozen=True, slots=True)
class _Arguments:
    """`uses`: in upper case."""

    path: str
    uses: tuple[str, ...]


def _parse(parser: Parser) -> _Arguments:
    """create = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"]."""
    parser.sp()
    # A trailing separator declares that names below it will be created, which needs no declaration here.
    path = parser.mailbox().removesuffix(SEPARATOR)
    parameters: list[list[str]] = []
    if parser.try_byte(b" "):
        parameters = parser.list_of(lambda: _use(parser))
    if len(parameters) > 1:
        raise ParseError("USE is given twice")
    return _Arguments(path, tuple(dict.fromkeys(use for uses in parameters for use in uses)))


def _use(parser: Parser) -> list[str]:
    """ "USE" SP "(" [use-attr *(SP use-attr)] ")" (RFC 6154 §6)."""
    if parser.keyword() != "USE":
        raise ParseError("Unknown parameter")
    parser.sp()
    return parser.list_of(lambda: _attribute(parser), empty=True)


def _attribute(parser: Parser) -> str:
    parser.expect(b"\\")
    return "\\" + parser.keyword()


async def _run(session: Session, arguments: _Arguments) -> Reply:
    # RFC 6154 §3: the server may refuse a combination of uses; a mailbox has one here.
    uses = [USES.get(use) for use in arguments.uses]
    if len(uses) > 1 or None in uses:
        return _NO_SUCH_USE
    mailbox = await session.mail.create(arguments.path, uses[0] if uses else None)
    return ok("CREATE completed", f"MAILBOXID ({mailbox.id})")


CREATE = command("CREATE", LOGGED_IN, _parse, _run)
