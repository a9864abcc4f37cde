"""The database servers that duckmail brings along: for trial use and for tests, never for production.

Invariants:
- A server here is a real mongod or Valkey from a wheel, an owned child: it ends with this process, also when that is
  killed.
- No TCP port is opened. Both listen on unix sockets in a folder of mode 0700; nobody else on the machine reaches them.
- A data folder belongs to one process at a time, which holds `<data>/lock`. Other commands of the same user attach to
  the servers that the holder runs.
- Data survive a restart. A child that dies by itself is started again; acknowledged writes are journaled before that.
- What goes wrong at start is one `EmbeddedError` whose text says in one line what to do.
"""
