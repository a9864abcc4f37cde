"""Message octets: DATA with its dots (RFC 5321 §4.5.2), BDAT with its lengths (RFC 3030)."""

import re
from enum import Enum, auto

_END = b"\r\n.\r\n"
_DOT = re.compile(rb"\r\n\.")  # found in half the time that `find` takes
_TEXT = bytes(octet for octet in range(256) if octet not in b"\r\n")


class Fault(Enum):
    """Why a message that was read to its end is not accepted."""

    TOO_LARGE = auto()
    BARE_LINE_END = auto()
    NO_ROOM = auto()


class Collector:
    """The octets of one message while they arrive, in one growing buffer.

    What is refused is not kept, but counted on: the reader goes on to the real end.

    Args:
        limit: octets of a message, dots removed (RFC 1870 §3).
        refuse_bare: a CR or LF alone refuses the message. Such octets are legal only with BODY=BINARYMIME; anywhere
            else they are how one message is made to look like two to the next program (SMTP smuggling), and repairing
            them would break signatures.
    """

    def __init__(self, limit: int, refuse_bare: bool = True) -> None:
        self.size = 0
        self._limit = limit
        self._refuse_bare = refuse_bare
        self._octets = bytearray()
        self._ends_with_cr = False
        self._bare = False
        self._refused: Fault | None = None

    @property
    def held(self) -> int:
        """Octets in memory now."""
        return len(self._octets)

    @property
    def fault(self) -> Fault | None:
        """Why the message is refused; final when the message is complete. Does not depend on how it was cut."""
        if self.size > self._limit:
            return Fault.TOO_LARGE
        if self._bare or (self._refuse_bare and self._ends_with_cr):
            return Fault.BARE_LINE_END
        return self._refused

    @property
    def hopeless(self) -> bool:
        """Refused already, whatever still comes."""
        return self._refused is not None or self._bare or self.size > self._limit

    def refuse(self, fault: Fault) -> None:
        """Refuses the message for a reason from outside; keeps nothing from here on."""
        self._refused = fault
        self._octets = bytearray()

    def add(self, piece: bytes) -> None:
        """Adds octets of the message."""
        self.size += len(piece)
        if piece and self._refuse_bare and not self._bare:
            self._look_for_bare(piece)
        if self.hopeless:
            self._octets = bytearray()
        else:
            self._octets += piece

    def _look_for_bare(self, piece: bytes) -> None:
        # Each pair has one CR and one LF: what is over is bare. Leaving out and counting are several times faster than
        # any regular expression over a large message.
        pairs = piece.count(b"\r\n")
        ends = len(piece.translate(None, _TEXT))
        if self._ends_with_cr:
            ends += 1
            pairs += piece.startswith(b"\n")
        self._ends_with_cr = piece.endswith(b"\r")
        self._bare = ends - self._ends_with_cr != 2 * pairs

    def take(self) -> bytearray:
        """Hands the octets over, without a copy; nothing is held here any more."""
        octets, self._octets = self._octets, bytearray()
        return octets


class DataReader:
    """DATA: octets up to `CRLF . CRLF` and nothing else, the dots that begin lines removed.

    `LF . LF`, `CRLF . LF`, `CR . CR` and the like are message octets (and make the collector refuse).
    """

    def __init__(self, collector: Collector) -> None:
        self.done = False
        self._collector = collector
        # The data begin at the start of a line: as if a CRLF had come before, which is not part of the message.
        self._held = b"\r\n"
        self._before = 2

    def feed(self, data: bytes, start: int = 0) -> int:
        """See `BodyReader.feed`."""
        held = len(self._held)
        window = self._held + data[start:]
        dot = _DOT.search(window)
        end = window.find(_END, dot.start()) if dot else -1
        dotted = dot is not None and dot.start() != end
        if end >= 0:
            self._held = b""
            self._add(window[: end + 2], dotted)
            self.done = True
            return start + end + len(_END) - held
        # What may be the beginning of the end waits for the next octets: at most four of them.
        waiting = next((size for size in (4, 3, 2, 1) if window.endswith(_END[:size])), 0)
        cut = len(window) - waiting
        self._held = window[cut:]
        self._add(window[:cut], dotted)
        return len(data)

    def _add(self, piece: bytes, dotted: bool) -> None:
        """`dotted`: a line may begin with a dot."""
        if piece:
            # RFC 5321 §4.5.2: a dot that begins a line is removed. Pieces are never cut inside `CRLF .`.
            unstuffed = piece.replace(b"\r\n.", b"\r\n") if dotted else piece
            self._collector.add(unstuffed[self._before :] if self._before else unstuffed)
            self._before = 0


class ChunkReader:
    """BDAT: exactly `size` octets, whatever they are (RFC 3030 §2)."""

    def __init__(self, collector: Collector, size: int) -> None:
        self.done = size == 0
        self._collector = collector
        self._left = size

    def feed(self, data: bytes, start: int = 0) -> int:
        """See `BodyReader.feed`."""
        piece = data[start : start + self._left]
        self._collector.add(piece)
        self._left -= len(piece)
        self.done = self._left == 0
        return start + len(piece)
