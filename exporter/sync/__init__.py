"""Decides which request to Conduit is worth making next, makes it, records what it learned.

Never talks to the trace backend: what it learns goes into the ledger and nowhere else.
"""
