"""The exporter's own HTTP server: /metrics, health, and the pages.

Never changes anything: GET and HEAD alone, and what is shown is handed in as plain values.
"""
