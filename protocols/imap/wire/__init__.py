"""IMAP on the wire (RFC 3501, RFC 9051 and the extensions named beside the code): octets <-> values, no I/O.

Invariants:
- Framing is apart from grammar: `framer` finds lines and literals and holds every limit, `parser` and the grammars
  over it (`fetch`, `search`) see one complete command and raise `ParseError` (its text is public) and nothing else.
- Any cut of the stream gives the same events; octets of a refused literal are dropped, never executed.
- CR, LF and NUL never reach the grammar except inside a literal.
- Octets stay `bytes` until a rule says which charset they are in; no name from a client selects a codec except through
  `duckmail.mime.charsets`. Numbers are bounded by the RFC before they are used.
- Cost is linear in the size of the command; nesting is capped at `parser.MAX_NESTING`.
- `response` builds untagged data without `* ` and CRLF; nothing a client or a message said can end a line there.
"""
