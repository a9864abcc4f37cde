"""IMAP4rev1 (RFC 3501) with its extensions, over `duckmail.services.mail`.

What holds in this package:

1. `wire/` knows octets and grammar and does no I/O; `selected.py` knows numbers; nothing else parses or counts.
2. One command is one file in `commands/` (UID forms beside the plain one) and one line in `registry.COMMANDS`;
   a capability is one line in `capabilities.CAPABILITIES`, and the server does not start without its code.
3. All output goes through one `Writer`; all unsolicited data comes from `Selected.updates`, before the tagged answer.
4. Nothing is written while a lock is held, and nothing is announced before it is committed.
5. EXPUNGE is sent only by commands that may (RFC 3501 §7.4.1); a session announces UIDs in ascending order.
6. A command that fails answers `NO` or `BAD`; the session goes on, and no other session notices (H1).
7. Every wait has a timeout, every literal a limit, every message over 64 KiB a share of the octet budget.
"""
