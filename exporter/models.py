"""Where `exporter.conduit.models` stood before."""

from exporter.conduit.models import (
    DISPOSITIONS,
    IN_FLIGHT_STATUSES,
    TERMINAL_STATUSES,
    Agent,
    Page,
    Run,
    RunDetail,
    Unreadable,
    Workspace,
)

__all__ = [
    "DISPOSITIONS",
    "IN_FLIGHT_STATUSES",
    "TERMINAL_STATUSES",
    "Agent",
    "Page",
    "Run",
    "RunDetail",
    "Unreadable",
    "Workspace",
]
