"""Measures what the exporter costs: requests and delays, memory, processor time, disk.

`python -m bench` prints a table. Nothing in the package or its tests imports this.
"""
