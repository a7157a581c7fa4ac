"""A run as a trace: `run_to_trace` and `summary_to_trace` make it, `encode_trace` its OTLP bytes.

All of it is pure: the same run and the same options give the same bytes, on every machine and in
every release that keeps `CONVERSION_VERSION`. It does no I/O, reads no clock, no environment and
draws no numbers.
"""
