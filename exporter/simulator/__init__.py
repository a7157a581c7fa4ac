"""A simulated Conduit and a hotel group at work, for `demo` and for tests.

An independent reading of Conduit's documentation: it shares no code with the exporter's client, so
that a misreading in one shows against the other. It never contacts the real Conduit, and the daemon
never imports it. `conduit` answers requests, `data` is what it knows, `hotel` whom it knows.
"""
