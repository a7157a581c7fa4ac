"""What the simulated Conduit knows of a run, and how its status follows from the time.

Plain values: whatever a run will become is fixed when it is made; only the clock decides how much
of it an answer shows. Nothing in here renders JSON or draws random numbers.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
FAR_FUTURE_NS = 1 << 62


class SimRun(NamedTuple):
    """A run, whole: what it is now and how it will end.

    `completed_ns` None is a run that never ends. `cost` is the JSON number's own text, so that its
    digits reach the wire as they stand. `status` is the final one and may be any text.
    """

    id: str
    agent_id: str
    created_ns: int
    completed_ns: int | None
    running_ns: int | None = None
    status: str = "completed"
    backend_run_id: str = "run_9f3a1c7e"
    disposition: str | None = "resolved"
    error: str | None = None
    duration_ns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: str | None = None
    trace_id: str | None = None
    contact_id: str | None = None
    conversation_id: str | None = None
    trigger_id: str | None = None

    def ended(self, now_ns: int) -> bool:
        """Whether the run is over at this time."""
        return self.completed_ns is not None and self.completed_ns <= now_ns

    def status_at(self, now_ns: int) -> str:
        """The status that an answer shows at this time."""
        if self.ended(now_ns):
            return self.status
        return "running" if self.running_ns is None or self.running_ns <= now_ns else "accepted"

    def changes_after(self, now_ns: int) -> int:
        """When an answer given now begins to be out of date."""
        if self.ended(now_ns):
            return FAR_FUTURE_NS
        end_ns = FAR_FUTURE_NS if self.completed_ns is None else self.completed_ns
        if self.running_ns is None or self.running_ns <= now_ns:
            return end_ns
        return min(self.running_ns, end_ns)


class RunContent(NamedTuple):
    """What only get-run tells of a run that has ended.

    `tool_trace` is JSON text or None; `tools` says what is in it, as (name, failed), so that a test
    can compare without reading the items.
    """

    session_id: str | None = None
    disposition_reason: str | None = None
    trigger_event_id: str | None = None
    response: str | None = None
    reflection: str | None = None
    tool_trace: str | None = None
    tools: tuple[tuple[str, bool], ...] = ()


class Arrival(NamedTuple):
    """A run's times as the list needs them: when it shows up, ends and is deleted."""

    number: int
    created_ns: int
    completed_ns: int | None
    visible_ns: int
    deleted_ns: int | None


class RunSource(Protocol):
    """Runs of one agent that are made as time passes and worked out when somebody looks."""

    @property
    def next_ns(self) -> int:
        """When the next run is created."""

    def arrivals(self, until_ns: int) -> Iterator[Arrival]:
        """Make all runs created up to this time; each comes out once, in order of creation."""

    def run(self, number: int) -> SimRun:
        """The run with this number, the same at every call."""

    def content(self, number: int) -> RunContent:
        """The content of the run with this number, the same at every call."""

    def run_id(self, number: int) -> str:
        """The id of the run with this number."""

    def number_of(self, run_id: str) -> int | None:
        """The number of a run that has been made, or None where the id is no such run's."""
