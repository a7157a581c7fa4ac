"""The ledger: what was seen, counted, fetched and delivered; the outbox; the totals.

The only meeting place of the stages. It never calls any of them and never talks to the network.
"""
