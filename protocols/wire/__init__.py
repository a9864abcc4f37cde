"""What the text protocols (IMAP, POP3, SMTP, LMTP) share below their grammars: octets in, lines out, no I/O.

Invariants:
- Cost is linear in the octets fed, however they were cut: no octet is searched twice for the same thing.
- Nothing here decides what a line means. A line comes out with its line end, so the protocol sees a bare LF and
  can refuse it.
- Every read has a limit, given as an argument by the protocol; over it nothing is consumed until the caller says so.
- The buffer itself does not bound what is fed: whoever feeds it (a session's read loop) takes all events out before
  it reads from the network again, so it holds at most one read plus one incomplete line or literal.
"""
