"""Every metric of the exporter: the catalogue, the sources' samples, and their text on the wire.

Never asks the ledger, the disk or the network at a scrape: what is shown is already in memory.
"""
