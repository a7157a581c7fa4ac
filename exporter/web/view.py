"""What the health answers and the status page show, as plain values.

Filled by whoever knows; nothing here looks anything up. Times are nanoseconds since the Unix
epoch, None where something has not happened yet.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready unless there is a reason against it; each reason is a sentence for an operator."""

    reasons: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent; `runs_counted` since the ledger exists."""

    id: str
    name: str
    last_poll_ns: int | None
    runs_counted: int
    runs_in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """A workspace; `up` is None before the first contact, `problem` why the last one failed."""

    id: str
    name: str
    up: bool | None
    problem: str | None
    last_contact_ns: int | None
    requests_per_minute: float
    runs_awaiting_detail: int
    agents: tuple[AgentView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """The way to the trace backend; `endpoint` is None when traces are not exported."""

    endpoint: str | None
    problem: str | None
    last_delivered_ns: int | None
    traces_delivered: int
    spans_delivered: int
    traces_rejected: int
    spans_rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxView:
    """Undelivered traces; bytes are those that they take in the ledger."""

    traces_pending: int
    traces_parked: int
    stored_bytes: int
    limit_bytes: int
    oldest_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """The ledger; `location` has no password in it."""

    location: str
    stored_bytes: int
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """Everything on the status page."""

    version: str
    revision: str
    now_ns: int
    started_ns: int
    readiness: Readiness
    workspaces: tuple[WorkspaceView, ...]
    delivery: DeliveryView
    outbox: OutboxView
    ledger: LedgerView
