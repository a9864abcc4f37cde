"""The outbound queue: mail on its way to other servers, and from submission, API and reports to accounts here.

Invariants:

- What was taken stays in the database until each recipient has got it, or the sender was told, or it was removed.
- One process at a time works on a message, under a lease; whatever it writes is fenced by the lease's token.
- A recipient that took the message is recorded as soon as the answer is there. Only a crash in between, or an answer
  that never came, sends to it twice: the window that SMTP itself has (RFC 5321 §4.5.3.2.6).
- A recipient becomes final in the same commit that puts the report about it into the queue: one report, or none if
  nobody wants it. A report has the null sender, so there is never a report about a report.
- What is no attempt (no route, a busy host, a process that stops) uses up nothing of the schedule.
- Local mail is stored once, whatever happens: its delivery key is the message's id in the queue.
"""
