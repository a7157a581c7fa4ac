"""Which request is worth making next in a workspace: a pure function of its state and the time.

Requests are dealt by fair shares over purposes (`exporter.sync.budget`); here is decided what each
purpose wants next. Each answer carries its reason in words, for the debug log.
"""

from dataclasses import dataclass, replace
from typing import Final

from exporter.ledger.records import GapPurpose, InFlightRun, Priority
from exporter.sync.requests import (
    Kind,
    Purpose,
    ReadAgents,
    Reading,
    ReadPage,
    ReadRun,
    Request,
    Target,
    Wait,
)
from exporter.sync.state import AgentState, WorkspaceState

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
            listed = [one for one in agents if one.listed and self._may_list(one)]
            readable = [one for one in listed if one.scans]
            self._want(self._head(readable))
            self._want(self._gap(readable, GapPurpose.FRESH, Purpose.GAP))
            self._want(self._gap(readable, GapPurpose.LOOKBACK, Purpose.LOOKBACK))
            self._want(self._reread(readable))
            self.backfill = self._gap(listed, GapPurpose.BACKFILL, Purpose.BACKFILL)
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
        health, under_way = self._workspace.health, self._workspace.under_way
        # One probe at a time. What other kinds bring says nothing about one that is down alone.
        others = under_way.total() if health.failures else under_way[kind]
        if health.is_open(kind) and others:
            return False
        return self._is_due(health.rests_until(kind))

    def _may_list(self, agent: AgentState) -> bool:
        retry = agent.retries.get(Reading.HEAD)
        return retry is None or self._is_due(retry.due_s)

    def _may_ask_for(self, agent: AgentState, target: Target) -> bool:
        if target in agent.under_way:
            return False
        retry = agent.retries.get(target)
        return retry is None or self._is_due(retry.due_s)

    # --- lists ---------------------------------------------------------------------------------

    def _head(self, agents: list[AgentState]) -> ReadPage | None:
        """The head page that is the most overdue, by its own interval."""
        now_s, once = self._now.s, self._now.once
        idle = sum(agent.idle for agent in agents)
        idle_interval_s = _idle_interval_s(idle, self._workspace.budget.requests_per_minute)
        best: tuple[tuple[bool, float], AgentState] | None = None
        for agent in agents:
            if Reading.HEAD in agent.under_way or (once and agent.head_read):
                continue
            interval_s = max(agent.head_interval_s, idle_interval_s if agent.idle else 0.0)
            if not self._is_due(agent.head_s + interval_s):
                continue
            # What failed goes behind what did not, so that probes of an API that was down go round.
            retry = agent.retries.get(Reading.HEAD)
            overdue = (now_s - agent.head_s) / (interval_s or 1.0)
            rank = (True, overdue) if retry is None else (False, -retry.due_s)
            if best is None or rank > best[0]:
                best = (rank, agent)
        if best is None:
            return None
        agent = best[1]
        return ReadPage(
            agent=agent.id,
            target=Reading.HEAD,
            purpose=Purpose.HEAD,
            reason="its head scan is the most overdue",
            limit=agent.head_limit,
        )

    def _gap(
        self, agents: list[AgentState], gap_purpose: GapPurpose, purpose: Purpose
    ) -> ReadPage | None:
        """The next page of a gap: an agent's for some pages in a row, then the next one's."""
        waiting = [
            (agent, gap, gap.no)
            for agent in agents
            for gap in agent.progress.gaps
            if gap.purpose is gap_purpose and gap.no is not None
            if self._may_ask_for(agent, gap.no)
        ]
        if not waiting:
            return None
        last, pages = self._workspace.gap_turns.get(purpose, ("", 0))
        agent, gap, number = min(
            waiting,
            key=lambda one: (
                not (one[0].id == last and pages < _GAP_TURN),
                one[0].served_s,
                -one[1].upper_ns,
            ),
        )
        return ReadPage(
            agent=agent.id,
            target=number,
            purpose=purpose,
            reason=f"runs of its {gap_purpose.name.lower()} are still to be counted",
            gap=gap,
        )

    def _sweep(self, agent: AgentState) -> ReadPage | None:
        """Pages of runs in flight, where they are cheaper than single runs."""
        if not self._may_ask_for(agent, Reading.SWEEP):
            return None
        reason = "a sweep goes on"
        if agent.sweep is None:
            runs, now = agent.off_head(), self._now
            if len(runs) <= len(sweep_statuses(runs)):
                return None
            interval_s = sweep_interval_s(runs, now.ns, now.poll_interval_s)
            if not self._is_due(agent.sweep_s + interval_s):
                return None
            reason = f"{len(runs)} runs in flight have fallen off its head"
        return ReadPage(
            agent=agent.id, target=Reading.SWEEP, purpose=Purpose.IN_FLIGHT, reason=reason
        )

    def _reread(self, agents: list[AgentState]) -> ReadPage | None:
        """A second reading, the one that has waited longest first."""
        for agent in sorted(agents, key=lambda one: one.reread_due_s):
            if agent.reread is None and not self._is_due(agent.reread_due_s):
                # Nor is any that comes behind it.
                return None
            if agent.shown and self._may_ask_for(agent, Reading.AGAIN):
                return ReadPage(
                    agent=agent.id,
                    target=Reading.AGAIN,
                    purpose=Purpose.SECOND_READING,
                    reason="its list is due for a second reading",
                )
        return None

    # --- single runs ---------------------------------------------------------------------------

    def _in_flight(
        self, agents: list[AgentState], readable: list[AgentState]
    ) -> ReadRun | ReadPage | None:
        """What became of runs in flight that no head page shows; agents in turn."""
        may_sweep = {one.id for one in readable}
        going = [one for one in agents if one.progress.in_flight or one.lost or one.sweep]
        for agent in sorted(going, key=lambda one: one.in_flight_s):
            request: ReadRun | ReadPage | None = None
            if self._may_ask(Kind.RUN):
                request = self._off_head(agent)
            if request is None and agent.id in may_sweep:
                request = self._sweep(agent)
            if request is not None:
                return request
        return None

    def _off_head(self, agent: AgentState) -> ReadRun | None:
        """A get-run for runs in flight off the head, where that is no dearer than a page."""
        runs = agent.off_head() if agent.listed and agent.sweep is None else []
        if len(runs) > len(sweep_statuses(runs)):
            runs = []
        reasons = dict.fromkeys(agent.lost, "it ended out of sight")
        reasons |= {run.id: "in flight off its head: no dearer than a page" for run in runs}
        for run_id, reason in reasons.items():
            if self._may_ask_for(agent, run_id):
                return ReadRun(
                    agent=agent.id,
                    target=run_id,
                    priority=Priority.URGENT,
                    reason=reason,
                    purpose=Purpose.IN_FLIGHT,
                )
        return None

    def _detail(self, agents: list[AgentState]) -> None:
        """The most urgent run whose detail is wanted, agents in turn."""
        found: list[tuple[tuple[bool, bool, int, float, int], ReadRun]] = []
        waiting = [
            one for one in agents if one.progress.awaiting or one.progress.retrying or one.wanted
        ]
        for agent in waiting:
            named = next((one for one in agent.wanted if self._may_ask_for(agent, one)), None)
            if named is not None:
                request = ReadRun(
                    agent=agent.id,
                    target=named,
                    priority=Priority.BACKLOG_URGENT,
                    reason="it was asked for by name",
                )
                rank = (False, False, int(Priority.URGENT), agent.served_s, 0)
                found.append((rank, request))
            for runs in (agent.progress.awaiting, agent.progress.retrying):
                run = next((one for one in runs if self._may_ask_for(agent, one.id)), None)
                if run is None:
                    continue
                # What failed before waits for its like that was never asked for, and only for that.
                is_old = run.priority > Priority.FRESH
                failed = run.attempts > 0
                rank = (is_old, failed, int(run.priority), agent.served_s, run.created_ns)
                request = ReadRun(
                    agent=agent.id,
                    target=run.id,
                    priority=run.priority,
                    reason=f"its detail is wanted ({run.priority.name.lower()})",
                )
                found.append((rank, request))
        best = min(found, key=lambda one: one[0], default=None)
        if best is None:
            return
        request = best[1]
        if request.priority is Priority.BACKFILL:
            # Its list goes first: then it is known how much there is.
            self.backfill = self.backfill or replace(request, purpose=Purpose.BACKFILL)
        else:
            self._want(request)


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
