"""Every metric of the exporter: their catalogue, their sources, and their text on the wire.

Never asks the ledger, the disk or the network at a scrape: what is shown is already in memory.
"""
