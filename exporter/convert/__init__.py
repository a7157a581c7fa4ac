"""A run as a trace: ids, times, attributes, redaction, sampling, and the OTLP bytes.

All of it is pure: the same run and the same options give the same bytes, on every machine and in
every release that keeps `CONVERSION_VERSION`. It does no I/O, reads no clock and draws no numbers.
"""
