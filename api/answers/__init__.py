"""What operations answer, as models: they are in `/openapi.json`, and tests hold answers against them.

Handlers build plain dictionaries: an answer is not validated again on its way out. One module per tag of the contract,
each with a table of its operations.
"""
