"""One module per tag of the contract. Each ends with `ROUTES`, a tuple of `api.route.Route`; nothing registers itself.

A handler takes a `Call` and its validated request, and returns what the answer's JSON is made of: dates are ISO 8601
with milliseconds, ids 24 hexadecimal digits, values that are not set are left out unless the contract has `null`.
"""
