"""POP3 as octets, without I/O: lines and commands in, status lines and multi-line responses out.

- Any cut of the input gives the same lines, any cut of a message the same response.
- A line ends with CRLF alone; what breaks that, or is too long, is one mistake through its CRLF, never a command.
- What the grammar refuses is a `BadCommand` with a public text, never another exception.
- No text adds a line to a response, and no message ends one.
"""
