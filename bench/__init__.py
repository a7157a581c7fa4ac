"""Benchmarks: what the exporter costs and how close it comes to what is possible.

Apart from the tests: nothing here decides whether a change is right. Figures about speed are ratios
taken in one run, so that they mean the same on every machine.
"""
