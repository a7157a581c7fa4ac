"""The Conduit API: requests, tokens, and the reading of answers into `exporter.models`.

The only room that knows a path or a JSON key of Conduit. It decides nothing: which request is worth
making, and when, is the sync stage's business, so nothing in here ever repeats a request.
"""
