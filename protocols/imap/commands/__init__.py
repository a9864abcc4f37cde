"""One file per command: how it is parsed and what it does.

To add one: `_parse(parser)` reads the arguments, beginning with `parser.sp()`, and gives them as one typed value;
`_run(session, arguments)` does the work through `session.mail`, writes its own untagged data to `session.writer` and
returns the tagged answer. What has changed in the mailbox is told by the driver, between the two. Then a line in
`protocols.imap.registry.COMMANDS`, one in `protocols.imap.capabilities.CAPABILITIES` if it is announced, and
`tests/dialogs/imap-NAME.dialog`. Errors of the services need no code: `protocols.imap.reply` has the table.
"""
