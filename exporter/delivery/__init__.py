"""Delivery: what stands in the outbox goes to the trace backend by OTLP until it is acknowledged.

Start at `service.DeliveryService`; `senders.open_sender` makes what it sends with.
"""
