"""The only place that builds the whole of duckmail: storage, services, edges, in that order.

- `services.py` is what the command line works on; `server.py` adds the listeners and the signals of a long life.
- `edges.py` knows what each kind of mail listener speaks, `outbound.py` what empties the queue.
- Nothing here decides anything about mail: it joins what other modules say that they need.
"""
