"""The only listening sockets of the suite: listeners, connections, TLS, PROXY headers, limits, draining.

- A session sees a `Connection` and nothing below it: no transport, no socket, no difference between TLS and plaintext,
  TCP and unix, direct and proxied.
- Everything has a bound: octets read ahead (reading pauses), octets written ahead (`drain`, at last an abort), the
  PROXY header (length, time), the handshake and the farewell (time), connections (in all, per network, per user).
- The PROXY header is read from the raw socket, to its last octet and no further, before there is a transport: so
  implicit TLS behind a proxy works on every loop, and no client's octet is ever taken for a proxy's.
- What arrives in plaintext never survives `start_tls` (H2).
- A session that fails ends its own connection only; accepting goes on through every error, with pauses where the
  machine is out of something.
"""
