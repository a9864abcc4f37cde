"""MIME messages as octets with positions: scanning, describing, decoding.

- Pure: bytes in, values out; no I/O, no clock, no event loop. Callers with more than a few KiB use a thread.
- Total: no message is an error. What cannot be understood is described as well as possible and kept as it is.
- Offsets count octets from the first octet of the content; nothing is rewritten, a section is a slice.
- Linear: time grows with the octets, whatever they are; nesting, parts, names, values and lists have limits, and no
  single call into C runs over much more than a MiB, so that a thread gives way to the event loop.
- Lines end with LF, with or without CR before it; a CR alone is an ordinary octet.
- Nothing from a message selects a codec (see `charsets`), and nothing from it becomes a pattern.
"""
