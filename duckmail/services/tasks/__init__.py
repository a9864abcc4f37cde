"""Work behind the answers: tasks in the database, done by any process, each by one at a time.

- A task is durable before it is answered for. Whoever dies in the middle is forgotten when its lease ends, and another
  process goes on where the last `save` was: so every step of a handler may be done twice, and has its effect once.
- What fails for a while backs off and is tried for ever; what can never succeed ends as failed. Both can be seen.
- A process works on a few tasks at once; each is an owned asyncio task, and stops when its lease is lost.
- `jobs`: which function does which kind, and what comes again and again.
"""
