"""Which request is worth making next in a workspace: a pure function of its state and the time.

Requests are dealt by fair shares over purposes (`exporter.sync.budget`); here is decided what each
purpose wants next. Each answer carries its reason in words, for the debug log.
"""

from dataclasses import dataclass
from typing import Final

from exporter.ledger.records import Gap, GapPurpose, InFlightRun, Priority
from exporter.sync.budget import Purpose
from exporter.sync.health import Kind
from exporter.sync.state import AgentState, Place, Slot, WorkspaceState

# The scans of idle agents together take at most a third of the budget, as long as each is polled
# every ten minutes; half of it where that could not be kept otherwise.
_IDLE_SHARE: Final = 1 / 3
_IDLE_SHARE_MAX: Final = 1 / 2
_IDLE_INTERVAL_MAX_S: Final = 600.0
# One gap is read so many pages in a row before another agent's has its turn.
_GAP_TURN: Final = 20
# Runs off the head are looked for after so long, the older the more rarely.
_SWEEP_MIN_S: Final = 30.0
_SWEEP_MAX_S: Final = 1800.0
_SWEEP_SHARE_OF_AGE: Final = 0.1
_FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class ReadAgents:
    """The next page of the workspace's agents."""

    reason: str
    purpose: Purpose = Purpose.AGENTS
    kind: Kind = Kind.AGENTS


@dataclass(frozen=True, slots=True)
class ReadHead:
    """The newest runs of an agent."""

    agent: str
    limit: int
    reason: str
    purpose: Purpose = Purpose.HEAD
    kind: Kind = Kind.RUNS
    slot: Slot = Slot.HEAD
    place: Slot = Slot.HEAD


@dataclass(frozen=True, slots=True)
class ReadGap:
    """The next page of a stretch that was not read yet."""

    agent: str
    gap: Gap
    reason: str
    purpose: Purpose
    kind: Kind = Kind.RUNS
    slot: Slot = Slot.GAP

    @property
    def place(self) -> int | None:
        """What a failure of this page is evidence against: this gap, and no other."""
        return self.gap.no


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """The next page of an agent's runs of one status in flight."""

    agent: str
    reason: str
    purpose: Purpose = Purpose.IN_FLIGHT
    kind: Kind = Kind.RUNS
    slot: Slot = Slot.SWEEP
    place: Slot = Slot.SWEEP


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """The next page of a second reading of an agent's list."""

    agent: str
    reason: str
    purpose: Purpose = Purpose.SECOND_READING
    kind: Kind = Kind.RUNS
    slot: Slot = Slot.REREAD
    place: Slot = Slot.REREAD


@dataclass(frozen=True, slots=True)
class ReadRun:
    """One run whole."""

    agent: str
    run_id: str
    priority: Priority
    reason: str
    purpose: Purpose = Purpose.DETAIL
    kind: Kind = Kind.RUN


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is worth a request before this moment, unless something changes."""

    until_s: float


ListRequest = ReadHead | ReadGap | ReadStatus | ReadAgain
Request = ReadAgents | ListRequest | ReadRun


@dataclass(frozen=True, slots=True)
class Present:
    """The moment of a decision: monotonic seconds, Conduit's present, and the settings of polling.

    `details` False (outbox full, ledger failing) leaves every get-run for later.
    """

    s: float
    ns: int
    poll_interval_s: float
    once: bool
    details: bool


def plan(workspace: WorkspaceState, now: Present) -> Request | Wait:
    """Choose what to do next."""
    if workspace.refused_until_s > now.s:
        return Wait(workspace.refused_until_s)
    wanted = _Wanted(workspace, now)
    if wanted.agents is not None:
        return wanted.agents
    if wanted.requests:
        return wanted.requests[workspace.shares.choose(wanted.requests)]
    return wanted.backfill or Wait(wanted.wake_s)


def note_spent(workspace: WorkspaceState, request: Request, now_s: float) -> None:
    """Keep the shares and the turns: what was chosen moves whose turn is next."""
    workspace.shares.spend(request.purpose)
    if isinstance(request, ReadAgents):
        return
    agent = workspace.agents[request.agent]
    agent.served_s = now_s
    if request.purpose is Purpose.IN_FLIGHT:
        agent.in_flight_s = now_s
    if isinstance(request, ReadGap):
        same = workspace.gap_agent == request.agent
        workspace.gap_pages = workspace.gap_pages + 1 if same else 1
        workspace.gap_agent = request.agent


class _Wanted:
    """What each purpose would ask for now, and when time alone changes that."""

    def __init__(self, workspace: WorkspaceState, now: Present) -> None:
        self.wake_s = _FOREVER
        self.agents: ReadAgents | None = None
        self.requests: dict[Purpose, Request] = {}
        self.backfill: Request | None = None
        self._workspace = workspace
        self._now = now
        if self._may_ask(Kind.AGENTS) and not workspace.agents_busy:
            due_s = workspace.agents_due_s
            if workspace.agents_retry is not None:
                due_s = max(due_s, workspace.agents_retry.due_s)
            if self._is_due(due_s):
                self.agents = ReadAgents("the list of agents is due")
        agents = list(workspace.agents.values())
        readable: list[AgentState] = []
        if self._may_ask(Kind.RUNS):
            readable = [one for one in agents if one.scans and one.listed and self._may_list(one)]
            self._want(self._head(readable))
            self._want(self._gap(readable, GapPurpose.FRESH, Purpose.GAP))
            self._want(self._gap(readable, GapPurpose.LOOKBACK, Purpose.LOOKBACK))
            self._want(self._reread(readable))
            self.backfill = self._gap(
                [one for one in agents if one.listed and self._may_list(one)],
                GapPurpose.BACKFILL,
                Purpose.BACKFILL,
            )
        self._want(self._in_flight(agents, readable))
        if now.details and self._may_ask(Kind.RUN):
            self._detail(agents)

    def _want(self, request: Request | None) -> None:
        if request is not None:
            self.requests.setdefault(request.purpose, request)

    def _is_due(self, at_s: float) -> bool:
        if at_s > self._now.s:
            self.wake_s = min(self.wake_s, at_s)
            return False
        return True

    def _may_ask(self, kind: Kind) -> bool:
        health = self._workspace.health
        if health.is_open(kind) and any(self._workspace.under_way.values()):
            return False
        return self._is_due(health.rests_until(kind))

    def _may_list(self, agent: AgentState) -> bool:
        return agent.list_retry is None or self._is_due(agent.list_retry.due_s)

    def _may_read(self, agent: AgentState, slot: Slot, place: Place) -> bool:
        if slot in agent.busy:
            return False
        retry = agent.page_retries.get(place)
        return retry is None or self._is_due(retry.due_s)

    # --- lists ---------------------------------------------------------------------------------

    def _head(self, agents: list[AgentState]) -> ReadHead | None:
        """The head page that is the most overdue, by its own interval."""
        now_s, once = self._now.s, self._now.once
        idle = sum(agent.idle for agent in agents)
        idle_interval_s = _idle_interval_s(idle, self._workspace.budget.requests_per_minute)
        best: tuple[tuple[bool, float], AgentState] | None = None
        for agent in agents:
            if Slot.HEAD in agent.busy or (once and agent.head_read):
                continue
            interval_s = max(agent.head_interval_s, idle_interval_s if agent.idle else 0.0)
            if not self._is_due(agent.head_s + interval_s):
                continue
            # What failed goes behind what did not, so that probes of an API that was down go round.
            retry = agent.list_retry
            overdue = (now_s - agent.head_s) / (interval_s or 1.0)
            rank = (True, overdue) if retry is None else (False, -retry.due_s)
            if best is None or rank > best[0]:
                best = (rank, agent)
        if best is None:
            return None
        agent = best[1]
        return ReadHead(agent.id, agent.head_limit, "its head scan is the most overdue")

    def _gap(
        self, agents: list[AgentState], gap_purpose: GapPurpose, purpose: Purpose
    ) -> ReadGap | None:
        """The next page of a gap: an agent's for some pages in a row, then the next one's."""
        waiting = [
            (agent, gap)
            for agent in agents
            for gap in agent.progress.gaps
            if gap.purpose is gap_purpose and self._may_read(agent, Slot.GAP, gap.no)
        ]
        if not waiting:
            return None
        workspace = self._workspace
        has_turn = workspace.gap_pages < _GAP_TURN
        agent, gap = min(
            waiting,
            key=lambda one: (
                not (has_turn and one[0].id == workspace.gap_agent),
                one[0].served_s,
                -one[1].upper_ns,
            ),
        )
        return ReadGap(
            agent.id,
            gap,
            f"runs of its {gap_purpose.name.lower()} are still to be counted",
            purpose,
        )

    def _sweep(self, agent: AgentState) -> ReadStatus | None:
        """Pages of runs in flight, where they are cheaper than single runs."""
        if not self._may_read(agent, Slot.SWEEP, Slot.SWEEP):
            return None
        if agent.sweep is not None:
            return ReadStatus(agent.id, "a sweep goes on")
        runs = agent.off_head()
        if len(runs) <= len(sweep_statuses(runs)):
            return None
        if self._is_due(agent.sweep_s + self._sweep_interval_s(runs)):
            return ReadStatus(agent.id, f"{len(runs)} runs in flight have fallen off its head")
        return None

    def _reread(self, agents: list[AgentState]) -> ReadAgain | None:
        """A second reading, the one that has waited longest first."""
        if self._now.once:
            return None
        for agent in sorted(agents, key=lambda one: one.reread_due_s):
            if agent.reread is None and not self._is_due(agent.reread_due_s):
                # Nor is any that comes behind it.
                return None
            if not agent.shown or not self._may_read(agent, Slot.REREAD, Slot.REREAD):
                continue
            if agent.reread is not None:
                return ReadAgain(agent.id, "a second reading goes on")
            return ReadAgain(agent.id, "its list is due for a second reading")
        return None

    # --- single runs ---------------------------------------------------------------------------

    def _in_flight(
        self, agents: list[AgentState], readable: list[AgentState]
    ) -> ReadRun | ReadStatus | None:
        """What became of runs in flight that no head page shows; agents in turn."""
        may_sweep = {one.id for one in readable}
        going = [one for one in agents if one.progress.in_flight or one.lost or one.sweep]
        for agent in sorted(going, key=lambda one: one.in_flight_s):
            request: ReadRun | ReadStatus | None = None
            if self._may_ask(Kind.RUN):
                request = self._off_head(agent)
            if request is None and agent.id in may_sweep:
                request = self._sweep(agent)
            if request is not None:
                return request
        return None

    def _off_head(self, agent: AgentState) -> ReadRun | None:
        """A get-run for runs in flight off the head, where that is no dearer than a page."""
        for run_id in agent.lost:
            if self._may_fetch(agent, run_id):
                return ReadRun(
                    agent.id, run_id, Priority.URGENT, "it ended out of sight", Purpose.IN_FLIGHT
                )
        runs = agent.off_head() if agent.listed and agent.sweep is None else []
        if len(runs) > len(sweep_statuses(runs)):
            return None
        for run in runs:
            if self._may_fetch(agent, run.id):
                return ReadRun(
                    agent.id,
                    run.id,
                    Priority.URGENT,
                    "in flight off its head: no dearer than a page",
                    Purpose.IN_FLIGHT,
                )
        return None

    def _detail(self, agents: list[AgentState]) -> None:
        """The most urgent run whose detail is wanted, agents in turn."""
        found: list[tuple[tuple[bool, bool, int, float, int], ReadRun]] = []
        waiting = [
            one for one in agents if one.progress.awaiting or one.progress.retrying or one.wanted
        ]
        for agent in waiting:
            for run_id in agent.wanted:
                if self._may_fetch(agent, run_id):
                    request = ReadRun(
                        agent.id, run_id, Priority.BACKLOG_URGENT, "it was asked for by name"
                    )
                    rank = (False, False, int(Priority.URGENT), agent.served_s, 0)
                    found.append((rank, request))
                    break
            for runs in (agent.progress.awaiting, agent.progress.retrying):
                run = next((one for one in runs if self._may_fetch(agent, one.id)), None)
                if run is None:
                    continue
                # What failed before waits for its like that was never asked for, and only for that.
                is_old = run.priority > Priority.FRESH
                failed = run.attempts > 0
                rank = (is_old, failed, int(run.priority), agent.served_s, run.created_ns)
                reason = f"its detail is wanted ({run.priority.name.lower()})"
                found.append((rank, ReadRun(agent.id, run.id, run.priority, reason)))
        best = min(found, key=lambda one: one[0], default=None)
        if best is None:
            return
        request = best[1]
        if request.priority is Priority.BACKFILL:
            # Its list goes first: then it is known how much there is.
            self.backfill = self.backfill or ReadRun(
                request.agent, request.run_id, request.priority, request.reason, Purpose.BACKFILL
            )
        else:
            self._want(request)

    def _may_fetch(self, agent: AgentState, run_id: str) -> bool:
        if run_id in agent.fetching:
            return False
        retry = agent.run_retries.get(run_id)
        return retry is None or self._is_due(retry.due_s)

    def _sweep_interval_s(self, runs: list[InFlightRun]) -> float:
        return sweep_interval_s(runs, self._now.ns, self._now.poll_interval_s)


def sweep_statuses(runs: list[InFlightRun]) -> list[str]:
    """The statuses to list, in order: a run may go from accepted to running meanwhile, not back."""
    seen = {run.status for run in runs}
    return ["running"] if seen == {"running"} else ["accepted", "running"]


def sweep_interval_s(runs: list[InFlightRun], now_ns: int, poll_interval_s: float) -> float:
    """How long to wait until runs off the head are looked for again."""
    youngest_ns = max((run.created_ns for run in runs), default=now_ns)
    age_s = max(0, now_ns - youngest_ns) / 1e9
    return max(poll_interval_s, _SWEEP_MIN_S, min(_SWEEP_MAX_S, age_s * _SWEEP_SHARE_OF_AGE))


def _idle_interval_s(idle: int, requests_per_minute: float) -> float:
    """How far apart the scans of an idle agent have to be."""
    interval_s = idle * 60.0 / (requests_per_minute * _IDLE_SHARE)
    if interval_s <= _IDLE_INTERVAL_MAX_S:
        return interval_s
    return max(_IDLE_INTERVAL_MAX_S, idle * 60.0 / (requests_per_minute * _IDLE_SHARE_MAX))
