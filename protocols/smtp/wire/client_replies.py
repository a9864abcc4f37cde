"""A server's replies as a client reads them (RFC 5321 §4.2, RFC 2034)."""

import re

from protocols.smtp.wire.reply import Reply

# RFC 5321 §4.5.3.1.5 says 512 octets; servers that put links and ids into their words take more.
MAX_LINE = 4096
MAX_LINES = 100  # of one reply; the longest real ones, of EHLO, have about 30
MAX_WORDS = 1000  # characters of a reply that are kept for people to read

# Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF: RFC 5321 §4.2.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
# status-code = class "." subject "." detail: RFC 2034 §4, RFC 3463 §2.
_STATUS = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ReplyError(Exception):
    """What came is no reply, or longer than any: nobody can know what follows it."""


class ReplyReader:
    """Octets in, replies out; holds what one `feed` brought and at most one unfinished line and reply.

    A bare LF ends a line too: some servers send it, and nothing that is sent to a server can put one into its replies.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code = 0
        self._texts: list[str] = []

    @property
    def empty(self) -> bool:
        """Nothing has come that was not given out."""
        return not self._buffer and not self._texts

    def feed(self, data: bytes) -> None:
        """Adds what has arrived."""
        self._buffer += data

    def next(self) -> Reply | None:
        """The next reply; None when more octets are needed.

        Raises:
            ReplyError: this is not SMTP.
        """
        while True:
            end = self._buffer.find(b"\n", 0, MAX_LINE)
            if end < 0:
                if len(self._buffer) >= MAX_LINE:
                    raise ReplyError("a reply has too long a line")
                return None
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if self._is_last(line):
                code, texts = self._code, self._texts
                self._code, self._texts = 0, []
                return _made(code, texts)

    def _is_last(self, line: bytes) -> bool:
        found = _LINE.fullmatch(line)
        if found is None or b"\x00" in line:
            raise ReplyError("the answer is not an SMTP reply")
        code = int(found[1])
        # RFC 5321 §4.2.1: the same code begins each line of a reply.
        if self._texts and code != self._code:
            raise ReplyError("a reply has two codes")
        self._code = code
        self._texts.append(_UNPRINTABLE.sub("?", (found[3] or b"").decode("utf-8", "replace")))
        if len(self._texts) > MAX_LINES:
            raise ReplyError("a reply has too many lines")
        return found[2] != b"-"


def words(reply: Reply) -> str:
    """The reply's text in one line, for people."""
    return " ".join(line for line in reply.lines if line)[:MAX_WORDS]


def enhanced(reply: Reply) -> str:
    """The enhanced status code, made from the reply's code where the server gave none."""
    return reply.status or f"{reply.code // 100}.0.0"


def _made(code: int, texts: list[str]) -> Reply:
    """The reply; its status code is taken off each line that has it."""
    # RFC 2034 §4: the class of the status code is that of the reply; another one is a mistake, and only text.
    founds = [found for text in texts if (found := _STATUS.match(text)) and found[1] == str(code)[0]]
    if not founds:
        return Reply(code, "", tuple(texts))
    status = founds[0][0]
    return Reply(code, status, tuple(_without(text, status) for text in texts))


def _without(text: str, status: str) -> str:
    return text[len(status) :].lstrip(" ") if text == status or text.startswith(f"{status} ") else text
