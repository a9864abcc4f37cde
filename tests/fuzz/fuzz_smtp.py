"""Fuzz target: an SMTP dialogue of commands, DATA and BDAT; any cut gives the same, and only documented errors."""

from protocols.smtp.wire.body import ChunkReader, Collector, DataReader
from protocols.smtp.wire.command import Bdat, parse, parse_bdat, parse_mail, parse_rcpt, parse_xclient, parse_xforward
from protocols.smtp.wire.receive import BodyReader, Receiver
from protocols.smtp.wire.reply import CommandError, Reply

KNOWN = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "NOTIFY", "ORCPT"})
LINE = 200
MESSAGE = 300

SEEDS: list[bytes] = [
    b"LHLO relay.example\r\nMAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<c@d>\r\n",
    b"DATA\r\na\r\n..\r\n.\r\nQUIT\r\n",
    b'MAIL FROM:<"a\\"b"@[IPv6:::1]> SMTPUTF8 RET=HDRS ENVID=a+2Bb\r\nRCPT TO:<@x,@y:postmaster@z> NOTIFY=NEVER\r\n',
    b"RCPT TO:<Postmaster> ORCPT=rfc822;a+40b NOTIFY=SUCCESS,DELAY\r\nXFORWARD IDENT=4F ADDR=[UNAVAILABLE]\r\n",
    b"BDAT 3\r\na\n\rBDAT 2 LAST\r\n\r\nNOOP\r\n",
    b"DATA\r\n\n.\n\r\n.\n\n.\r\n\r.\r\r\n.\r\nMAIL FROM:<>\r\n",
    "MAIL FROM:<ü@bücher.example> SMTPUTF8\r\n".encode(),
]
WORDS: list[bytes] = [
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.",
    b"DATA\r\n",
    b"BDAT 5\r\n",
    b" LAST",
    b"<>",
    b'"',
    b"\\",
    b"@",
    b"=",
]


def target(data: bytes) -> None:
    whole = dialogue([data])
    assert dialogue([data[at : at + 1] for at in range(len(data))]) == whole
    middle = len(data) // 2
    assert dialogue([data[:middle], data[middle:]]) == whole
    assert dialogue([data[at : at + 7] for at in range(0, len(data), 7)]) == whole


def dialogue(pieces: list[bytes]) -> list[object]:
    """What a session would see, whatever it answers."""
    receiver = Receiver(LINE)
    seen: list[object] = []
    collector, body = Collector(MESSAGE), None
    for piece in pieces:
        receiver.feed(piece)
        while True:
            if body is not None:
                if not receiver.read_into(body):
                    break
                octets = bytes(collector.take())
                seen.append((collector.fault, octets if collector.fault is None else b"", collector.size))
                body = None
            try:
                line = receiver.line()
                if line is None:
                    break
                collector = Collector(MESSAGE)
                event, body = carry_out(line, collector)
                seen.append(event)
            except CommandError as error:
                seen.append(error.reply)
        assert len(receiver._buffer) - receiver._position <= max(LINE, len(piece) + 4)
        assert collector.held <= MESSAGE
    assert all(500 <= event.code <= 555 for event in seen if isinstance(event, Reply))
    return seen


def carry_out(line: bytes, collector: Collector) -> tuple[object, BodyReader | None]:
    command = parse(line)
    if command.verb == "DATA":
        return command, DataReader(collector)
    if command.verb == "BDAT":
        chunk: Bdat = parse_bdat(command.argument)
        return chunk, ChunkReader(collector, chunk.size)
    if command.verb == "MAIL":
        mail = parse_mail(command.argument, KNOWN)
        again = parse_mail(f"FROM:<{mail.sender}> SMTPUTF8", KNOWN)
        assert again.sender == mail.sender
        return mail, None
    if command.verb == "RCPT":
        rcpt = parse_rcpt(command.argument, KNOWN, utf8=True)
        assert parse_rcpt(f"TO:<{rcpt.recipient}>", KNOWN, utf8=True).recipient == rcpt.recipient
        return rcpt, None
    if command.verb == "XFORWARD":
        return parse_xforward(command.argument), None
    if command.verb == "XCLIENT":
        return parse_xclient(command.argument), None
    return command, None
