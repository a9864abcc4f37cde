"""SASLprep (RFC 4013): the one form of a name or password that client and server both hash."""

import stringprep
import unicodedata

# RFC 4013 §2.3: prohibited output.
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared form, as of a string that is stored.

    Raises:
        ValueError: it has none: signs that are prohibited or that Unicode 3.2 has not assigned, directions mixed.
    """
    if text.isascii() and text.isprintable():
        return text
    # RFC 4013 §2.1, §2.2: other spaces become blanks, some signs nothing; NFKC of Unicode 3.2 (RFC 3454 §4).
    mapped = "".join(
        " " if stringprep.in_table_c12(sign) else sign for sign in text if not stringprep.in_table_b1(sign)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for sign in prepared:
        # RFC 4013 §2.5: a stored string has no unassigned code points.
        if stringprep.in_table_a1(sign) or any(prohibited(sign) for prohibited in _PROHIBITED):
            raise ValueError("a sign that SASLprep does not allow")
    _check_directions(prepared)
    return prepared


def _check_directions(text: str) -> None:
    # RFC 3454 §6: with letters from right to left there are none from left to right, and they begin and end it.
    if any(map(stringprep.in_table_d1, text)):
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not ends or any(map(stringprep.in_table_d2, text)):
            raise ValueError("text in both directions")
