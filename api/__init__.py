"""The REST API: JSON in, service calls, JSON out.

- A request passes, in this order: route (404, 405), token (403), validation (400), permission (403), handler.
- Handlers get validated input and services; they know no HTTP, and no storage.
- What a role may do is a table (`permissions`); whose things they are is checked in the services.
- A domain error becomes a status and a code by one table (`errors`), which a route may override by rows.
- All violations of a request are reported together, in the words that clients of the contract know.
- Bodies, paths, cursors and lists of violations are limited; tokens and query strings never reach a log.
- Routes are visible tuples of one module per tag of the contract, put together in `app`.
"""
