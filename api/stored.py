"""How answers carry what an account has stored."""

# It comes from strangers: a browser must neither guess a type for it nor run it as ours.
STORED = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
