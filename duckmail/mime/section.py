"""Sections: which octets a FETCH section means (RFC 9051 §6.4.5.1)."""

from enum import Enum

from duckmail.mime.index import Index, Kind


class SectionPart(Enum):
    """What of a part is meant. `BODY`: nothing said after the part number, or `BODY[]`."""

    BODY = ""
    HEADER = "HEADER"
    TEXT = "TEXT"
    MIME = "MIME"


def section_range(index: Index, path: tuple[int, ...], what: SectionPart) -> tuple[int, int] | None:
    """The octets [start, end) of a section; None when the message has no such section.

    HEADER.FIELDS and HEADER.FIELDS.NOT are `header.select_fields` of the HEADER section.
    """
    if not path:
        return _message_range(index, 0, what)
    position = find_part(index, path)
    if position is None:
        return None
    node = index.nodes[position]
    if what is SectionPart.BODY:
        return node.body_start, node.body_end
    if what is SectionPart.MIME:
        return node.header_start, node.body_start
    # "HEADER, ..., and TEXT ... refer to the embedded message": only message/rfc822 and message/global have one.
    return _message_range(index, position + 1, what) if node.kind is Kind.MESSAGE else None


def _message_range(index: Index, position: int, what: SectionPart) -> tuple[int, int] | None:
    node = index.nodes[position]
    if what is SectionPart.HEADER:
        return node.header_start, node.body_start
    if what is SectionPart.TEXT:
        return node.body_start, node.body_end
    # MIME "MUST be prefixed by one or more part numbers".
    return (node.header_start, node.body_end) if what is SectionPart.BODY else None


def find_part(index: Index, path: tuple[int, ...]) -> int | None:
    """The node position of a part number such as (1, 2); None when there is no such part.

    "Every message has at least one part number": 1 of a message that is no multipart is its body.
    """
    message = 0  # the message, or the multipart, that the next number counts in
    position = None
    for number in path:
        if position is not None:
            kind = index.nodes[position].kind
            if kind is Kind.LEAF:
                return None
            message = position + 1 if kind is Kind.MESSAGE else position
        if index.nodes[message].kind is Kind.MULTIPART:
            children = index.children(message)
            if not 1 <= number <= len(children):
                return None
            position = children[number - 1]
        elif number == 1:
            position = message
        else:
            return None
    return position


def part_numbers(index: Index) -> list[tuple[int, ...]]:
    """The part number of every node; () for the message itself when it is a multipart.

    A multipart that is all of an embedded message has no number of its own and shows that message's.
    """
    numbers: list[tuple[int, ...]] = []
    siblings = [0] * len(index.nodes)
    for node in index.nodes:
        above = numbers[node.parent] if node.parent >= 0 else ()
        if node.parent >= 0 and index.nodes[node.parent].kind is Kind.MULTIPART:
            siblings[node.parent] += 1
            numbers.append((*above, siblings[node.parent]))
        elif node.kind is Kind.MULTIPART:
            numbers.append(above)
        else:
            numbers.append((*above, 1))
    return numbers
