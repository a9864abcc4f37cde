"""The words of the product as plain values: no I/O, no database, no protocol.

Identifiers are 24 lower-case hexadecimal digits (`str`), as the REST API shows them; only `storage` knows what they
are in the database. Times are aware `datetime`s in UTC. Sizes are octets.
"""
