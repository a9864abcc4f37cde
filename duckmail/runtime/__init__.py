"""What every part of the process runs on: the loop, owned tasks, logs, bounded threads, the octet budget.

- Every task has an owner (`tasks.Tasks`); nobody calls `asyncio.create_task`, so no task and no exception vanishes.
- CPU work over a few milliseconds goes through a `threads.Pool`; beyond its queue callers get `Unavailable`.
- Large messages are received only under an `octets` reservation of `budget.OctetBudget`, made for the whole message.
- Logs are one JSON object per line (`log`); writing one never raises and never grows with what a client sent.
- uvloop where it is installed, plain asyncio everywhere else; nothing may need either of them (`loop`).
"""
