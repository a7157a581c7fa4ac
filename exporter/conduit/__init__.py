"""The Conduit API: `ConduitClient` makes the requests, `models` reads the rows of its answers.

The only room that knows a path or a JSON key of Conduit. It decides nothing: which request is worth
making, and when, is the sync stage's business.
"""
