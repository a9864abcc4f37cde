"""Character classes of the IMAP grammar (RFC 3501 §9), as regular expression fragments over octets.

atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
ATOM-CHAR     = <any CHAR except atom-specials>;  CHAR is %x01-7F
"""

ATOM_CHAR = rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]'
ASTRING_CHAR = rb'[^\x00-\x20\x7f-\xff(){%*"\\]'
"""ASTRING-CHAR = ATOM-CHAR / resp-specials, which is "]"."""
TAG_CHAR = rb'[^\x00-\x20\x7f-\xff(){%*"\\+]'
"""tag = 1*<any ASTRING-CHAR except "+">."""
LIST_CHAR = rb'[^\x00-\x20\x7f-\xff(){"\\]'
"""list-char = ATOM-CHAR / list-wildcards / resp-specials."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
