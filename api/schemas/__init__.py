"""What requests look like: pydantic models over our own field types.

- Values come from path, query and body alike, so each type says what text it accepts (`"true"`, `"20"`).
- Messages are worded as clients of the contract expect them; `base.violations` is the only place that builds them.
- Validation never does I/O and never raises anything but `api.errors.ValidationFailed`.
"""
