"""The one way out: everything an IMAP session says goes through its `Writer`.

Small responses are gathered and handed over together; `room` keeps what is gathered bounded and waits for a client that
reads slowly (P6). A response is written in one call, but for FETCH data: between `begin` and `end` an error leaves half
a response behind, after which the connection can only be cut.
"""

from collections.abc import Iterable

from duckmail.model import flags
from duckmail.model.ranges import Ranges
from protocols.imap.deflate import Deflate
from protocols.imap.reply import Reply
from protocols.imap.selected import Exists, Expunge, FlagUpdate, Keywords, RecentCount, Selected, Update, Vanished
from protocols.imap.wire.response import resp_text, sequence_set
from protocols.net.connection import Connection

GATHERED = 64 * 1024  # octets written before the client's pace counts
LARGE = 16 * 1024  # octets from which a piece goes its own way
RANGES = 500  # of UIDs in one response: clients have limits for lines
KEYWORDS = 1 << flags.FIRST_KEYWORD_BIT  # of the first keyword: one may be changed when all may
SYSTEM_FLAGS = "\\Answered \\Flagged \\Deleted \\Seen \\Draft"


class Writer:
    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._gathered = bytearray()
        self._deflate: Deflate | None = None
        self._undrained = 0  # octets written since the client was last waited for
        self.octets = 0  # written in all, for the log
        self.torn = False  # half a response is out
        self.filled = False  # what is pushed is not to get shorter by being compressed

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        self._undrained += len(data)
        if len(data) < LARGE:
            self._gathered += data
        else:  # not copied once more
            self._hand_over()
            self._connection.write(data if self._deflate is None else self._deflate.add(data))

    def untagged(self, data: bytes) -> None:
        """`* data`: one whole response."""
        self.write(b"* %b\r\n" % data)

    def status(self, status: str, text: str, code: str = "") -> None:
        """`* OK [code] text` and its like."""
        self.untagged(_status(status, code, text))

    def tagged(self, tag: str, reply: Reply) -> None:
        self.write(b"%b %b\r\n" % (tag.encode("ascii"), _status(reply.status, reply.code, reply.text)))

    def continuation(self, text: bytes) -> None:
        self.write(b"+ %b\r\n" % text)

    def begin(self, data: bytes) -> None:
        """The first octets of a response that comes in pieces."""
        self.torn = True
        self.write(data)

    def end(self, data: bytes) -> None:
        self.write(data)
        self.torn = False

    def push(self) -> None:
        """Hands over what is gathered, in one piece and without waiting; the client can read all of it."""
        data = self._taken()
        if self._deflate is not None:
            data += self._deflate.flush(filled=self.filled)
        if data:
            self._connection.write(data)

    def _hand_over(self) -> None:
        if data := self._taken():
            self._connection.write(data)

    def _taken(self) -> bytes:
        """What is gathered, as it goes out."""
        data = bytes(self._gathered)
        self._gathered.clear()
        return data if self._deflate is None else self._deflate.add(data)

    @property
    def compressed(self) -> bool:
        return self._deflate is not None

    def compress(self) -> None:
        """From here on all is compressed (RFC 4978)."""
        self._deflate = Deflate()

    async def flush(self) -> None:
        """Hands over what is gathered and waits until the client has taken most of it.

        Raises:
            ConnectionError: it is gone, or took nothing for the write timeout.
        """
        self.push()
        self._undrained = 0
        try:
            await self._connection.drain(self._timeout)
        except TimeoutError:
            self._connection.abort()
            raise ConnectionResetError("the client stopped reading") from None

    async def room(self) -> None:
        """Called between pieces of a large answer."""
        if self._undrained >= GATHERED:
            await self.flush()

    # Mailbox data (RFC 3501 §7.2-§7.4)

    def flags(self, keywords: Iterable[str], *, permitted: int, full: bool) -> None:
        """FLAGS and PERMANENTFLAGS: `\\*` while the table takes more keywords (RFC 3501 §7.1); those that clients look
        for, as long as it has room for them all.

        Args:
            permitted: the bits of the flags that may be changed (RFC 4314 §5.1.1).
        """
        table = tuple(keywords)
        known = flags.missing_keywords(flags.KNOWN_KEYWORDS, table) if permitted & KEYWORDS else []
        offered = known if len(table) + len(known) <= flags.MAX_KEYWORDS else []
        names = (*SYSTEM_FLAGS.split(), *table, *offered)
        permanent = [name for name in names if permitted & (flags.system_bit(name) or KEYWORDS)]
        if permitted & KEYWORDS and not full:
            permanent.append("\\*")
        self.untagged(f"FLAGS ({' '.join(names)})".encode("ascii"))
        self.status("OK", "Flags permitted", f"PERMANENTFLAGS ({' '.join(permanent)})")

    def updates(self, selected: Selected, updates: Iterable[Update], *, modseq: bool) -> None:
        """Unsolicited mailbox data as `Selected.updates` gave it."""
        for update in updates:
            match update:
                case Expunge(number):
                    self.untagged(b"%d EXPUNGE" % number)
                case Vanished(uids):
                    self.vanished(uids)
                case Exists(count):
                    self.untagged(b"%d EXISTS" % count)
                case RecentCount(count):
                    self.untagged(b"%d RECENT" % count)
                case Keywords():
                    self.keywords(selected)
                case FlagUpdate(uid):
                    position = selected.view.position(uid)
                    if position >= 0:  # else gone since: EXPUNGE will say so
                        self.new_keywords(selected)
                        # UID always: every client may be sent it, and it tells more than a number that will change.
                        self.fetch_flags(selected, position, with_uid=True, modseq=modseq)

    def vanished(self, uids: Ranges, *, earlier: bool = False) -> None:
        """RFC 7162 §3.2.10; in several responses when they are many ranges. Nothing without UIDs."""
        tag = b"VANISHED (EARLIER)" if earlier else b"VANISHED"
        for start in range(0, len(uids.pairs), RANGES):
            self.untagged(b"%b %b" % (tag, sequence_set(Ranges(uids.pairs[start : start + RANGES]))))

    def keywords(self, selected: Selected) -> None:
        mailbox = selected.view.mailbox
        self.flags(mailbox.keywords, permitted=selected.permitted, full=selected.keywords_full)

    def new_keywords(self, selected: Selected) -> None:
        """FLAGS and PERMANENTFLAGS if the keyword table grew: before flags are written that may use it."""
        if selected.keyword_update() is not None:
            self.keywords(selected)

    def fetch_flags(self, selected: Selected, position: int, *, with_uid: bool, modseq: bool) -> None:
        """FETCH with the flags of the message at that place of the view, as they stand."""
        view = selected.view
        uid = view.uids[position]
        parts = [f"UID {uid}"] if with_uid else []
        parts.append(f"FLAGS ({selected.flag_names(uid, view.flags[position])})")
        if modseq:  # RFC 7162 §3.2: in every FETCH about changed flags once CONDSTORE is enabled
            parts.append(f"MODSEQ ({view.modseqs[position]})")
        line = f"{selected.fetch_head(position, uid)} ({' '.join(parts)})"
        self.untagged(line.encode("ascii"))

    def fetch_modseq(self, selected: Selected, position: int) -> None:
        """FETCH with the mod-sequence alone."""
        uid, modseq = selected.view.uids[position], selected.view.modseqs[position]
        self.untagged(f"{selected.fetch_head(position, uid)} (UID {uid} MODSEQ ({modseq}))".encode("ascii"))


def _status(status: str, code: str, text: str) -> bytes:
    return b"%b %b" % (status.encode("ascii"), resp_text(text, code.encode("ascii")))
