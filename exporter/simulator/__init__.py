"""A simulated Conduit and its scenario, for `demo` and for tests; the daemon never imports it.

An independent reading of Conduit's documentation: it shares no code with the exporter's client, so
that a misreading in one shows against the other. It never contacts the real Conduit.
`SimulatedConduit` (conduit.py) answers requests, `SimulatedData` (data.py) is what it knows,
`FaultPlan` (faults.py) breaks it; transport.py and server.py put it behind httpx or a socket.
"""
