"""The configuration: what may be configured, how it is read, how it is written down.

Invariants:
- `schema.py` is the one place where a key exists: with its type, unit, default and a description for the reader of
  `config/duckmail.toml`, which `document.py` generates from it. A key that has no effect is not there.
- A `Config` is complete, checked and frozen; nothing reads files or the environment behind it. A changed file is a new
  `Config`.
- Every mistake in a file is reported in one go, with its dotted key, and an unknown key is a mistake.
- Secrets are `SecretStr`: neither `repr` nor `config show` nor an error message shows them.
- Sizes are octets, times are seconds; in the file they may be written with a unit.
"""
