"""How mail to other domains is protected on its way: what a domain asks for, and what became of it.

- DANE comes first, then MTA-STS, then what `outbound.tls` says: a domain can only make it stricter.
- What cannot be known for now is no protection lost: a policy once learned holds until its time is over, and a host
  whose TLSA records cannot be had is not used.
- What came of each session is counted by domain and day, and told to the domain if it wants to know (RFC 8460).
"""
