"""One file per command: how it is parsed and what it does; `protocols.imap.registry` lists them."""
