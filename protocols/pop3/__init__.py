"""POP3 (RFC 1939): simple mail programs fetch the INBOX, one session at a time for each account.

- The maildrop is a snapshot taken at login, under a lock over all processes. Numbers never shift within a session, and
  what arrives meanwhile belongs to the next one.
- Nothing changes before QUIT; what QUIT's +OK says is committed. A session that ends in any other way changes nothing.
- Octets are sent as they are stored; dots that begin a line are doubled, by whichever line end a client goes.
- Before login there is one time limit for all, lines are at most 255 octets, and what came in plaintext never counts
  in TLS (protocols §10.1 H2, H3).
- `wire` is what is said, without I/O; `dialogue` the two directions of a connection; `session` one connection's state
  and loop; `commands` the one table of what may be said when; `server` what a listener calls.
"""
