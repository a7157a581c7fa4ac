"""What was asked of the simulated Conduit and what is true in it: what a test compares."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from exporter.demo.answers import Endpoint, SimRequest, SimResponse
from exporter.demo.runs import SimRun


@dataclass(slots=True)
class Asked:
    """Counts of requests; a request whose answer never got through counts as asked, not as served.

    `over_limit` counts the requests that the rate limit itself refused, by workspace, or by token
    where a request has no workspace; 429s ordered as faults are only in `answers`. `runs_served`
    counts get-run answers of runs that had ended, apart from those of runs in flight.
    """

    requests: Counter[Endpoint | None] = field(default_factory=Counter)
    answers: Counter[tuple[Endpoint | None, int]] = field(default_factory=Counter)
    admitted: Counter[str] = field(default_factory=Counter)
    over_limit: Counter[str] = field(default_factory=Counter)
    runs_asked: Counter[str] = field(default_factory=Counter)
    runs_served: Counter[str] = field(default_factory=Counter)
    runs_served_in_flight: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All requests, whatever became of them."""
        return self.requests.total()

    @property
    def fetched_twice(self) -> dict[str, int]:
        """Ended runs whose whole answer was given more than once."""
        return {run_id: times for run_id, times in self.runs_served.items() if times > 1}

    def note(self, request: SimRequest) -> None:
        self.requests[request.endpoint] += 1
        if request.run_id is not None:
            self.runs_asked[request.run_id] += 1

    def note_answer(self, request: SimRequest, response: SimResponse) -> None:
        if response.failure is None:
            self.answers[request.endpoint, response.status] += 1
            if response.run is not None:
                self._served_of(response.run, request.now_ns)[response.run.id] += 1

    def note_lost(self, response: SimResponse, asked_ns: int) -> None:
        """Take back that a run was served: its answer was not waited for."""
        if response.run is not None:
            self._served_of(response.run, asked_ns)[response.run.id] -= 1

    def _served_of(self, run: SimRun, at_ns: int) -> Counter[str]:
        return self.runs_served if run.ended(at_ns) else self.runs_served_in_flight


@dataclass(slots=True)
class Truth:
    """Exact sums over the terminal runs that the API shows; keys begin with the agent's id."""

    runs: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    input_tokens: Counter[str] = field(default_factory=Counter)
    output_tokens: Counter[str] = field(default_factory=Counter)
    cost_usd: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    unpriced: Counter[str] = field(default_factory=Counter)
    tool_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    tool_errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    run_ids: set[str] = field(default_factory=set)

    def add(self, run: SimRun) -> None:
        """Count a run that has ended."""
        agent_id = run.agent_id
        self.run_ids.add(run.id)
        self.runs[agent_id, run.status, run.disposition] += 1
        if run.input_tokens is not None and run.output_tokens is not None:
            self.input_tokens[agent_id] += run.input_tokens
            self.output_tokens[agent_id] += run.output_tokens
        if run.cost is None:
            self.unpriced[agent_id] += 1
        else:
            self.cost_usd[agent_id] += Decimal(run.cost)

    def add_tools(self, agent_id: str, tools: tuple[tuple[str, bool], ...]) -> None:
        """Count the tool calls of a run that has ended."""
        for name, failed in tools:
            self.tool_calls[agent_id, name] += 1
            if failed:
                self.tool_errors[agent_id, name] += 1
