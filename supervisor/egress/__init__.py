"""The proxy: protocol logic without sockets, and the thin shells that move bytes for it."""
