"""A simulated Conduit and its scenarios, for `demo`, for tests and for simulated weeks.

An independent reading of Conduit's documentation: it shares no code with the exporter's client, so
that a misreading in one shows against the other. Real Conduit is never contacted from here.
"""
