"""SMTP and LMTP as octets, without I/O (RFC 5321, 1870, 2033, 2034, 3030, 3461, 6531).

- CRLF and nothing else ends a command line and the data: a bare CR or LF never does, anywhere (RFC 5321 §2.3.8).
- How the octets were cut on the way changes nothing: each reader gives the same for every cut.
- Every reader has a limit, holds no more than it, and reads on to the real end after it refused: the rest of a
  message that was refused is never taken for commands.
- Time is linear in the octets, and searching is done by `bytes.find`, `count` and `replace`.
- Octets of a message come out as they went in, less the dots that DATA doubles.
"""
