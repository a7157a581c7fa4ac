"""Delivery: sends the outbox to the trace backend by OTLP until each trace is acknowledged.

`endpoint.OtlpEndpoint` says where to, `senders.open_sender` makes what sends, and
`service.DeliveryService` is the stage. `outcome` says what an answer means, `triage` what follows
from it for the traces that were sent.
"""
