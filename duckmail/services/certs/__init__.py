"""Certificates of server names: given by administrators or obtained by ACME, presented to whoever asks for the name.

- Keys are sealed in the database, bound to their certificate's fingerprint; nothing gives them back.
- Every process follows the certificates within seconds; a name without one gets the configured certificate.
- One process at a time deals with an ACME server, under a lease; a failure puts the name off, longer each time.
"""
