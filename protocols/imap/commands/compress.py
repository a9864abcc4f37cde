"""COMPRESS (RFC 4978)."""

from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, no, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser


def _parse(parser: Parser) -> None:
    parser.sp()
    if parser.keyword() != "DEFLATE":
        raise ParseError("Unknown compression mechanism")


async def _run(session: Session, _: None) -> Reply:
    if session.writer.compressed:
        return no("Compression is active already", "COMPRESSIONACTIVE")  # RFC 4978 §3

    async def compress() -> None:
        # RFC 4978 §3: the client waits for OK before it sends anything else; what it did not wait with is no command.
        session.input.framer.discard()
        session.writer.compress()
        session.input.compress()

    return ok("DEFLATE active", after=compress)


COMPRESS = command("COMPRESS", LOGGED_IN, _parse, _run)
