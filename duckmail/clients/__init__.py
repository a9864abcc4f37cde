"""What duckmail asks of servers elsewhere, beside mail: an edge like `protocols` and `api`, turned outwards.

- Each module here is the client of one kind of server, and fills an interface that a service declares beside itself;
  nothing is imported from the other edges, and only `duckmail.app` joins the parts.
- A server elsewhere is not trusted: every wait has a timeout, every answer a limit, and what it says becomes one of the
  errors of `duckmail.errors`, temporary unless the answer was clear.
- Requests at one time are bounded here, so that a burst of work inside never becomes a burst outside.
"""
