"""Which request is worth making next in a workspace: a pure function of its state and the time.

The order of spending is that of the design: what feeds all metrics first (head scans, then the
gaps they left), then details of runs that must be traced, other fresh runs, the look-back, the
rest, a backfill last. Each answer carries its reason in words, for the debug log.
"""

from dataclasses import dataclass
from typing import Final

from exporter.ledger.records import GapRecord
from exporter.ledger.schema import GapPurpose, Urgency
from exporter.sync.state import AgentState, Slot, WorkspaceState

# While details wait, head scans take at most this share of the requests.
HEAD_SHARE: Final = 0.6
# A reconcile takes at most this share of the budget, however much of it is free; and the lesser
# one while a backlog waits. Within its share it goes before details: what arrives meanwhile
# shifts the pages that it has still to read, so a slow reading costs more of them.
RECONCILE_SHARE: Final = 0.1
RECONCILE_SHARE_IN_BACKLOG: Final = 0.015
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class ReadAgents:
    """The workspace's agents, from a cursor on."""

    cursor: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ReadHead:
    """The newest runs of an agent."""

    agent: str
    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadGap:
    """The next page of a stretch that was not read yet."""

    agent: str
    gap: GapRecord
    reason: str


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """A page of an agent's runs of one status in flight."""

    agent: str
    status: str
    cursor: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """A page of an agent's list that was read before."""

    agent: str
    cursor: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ReadRun:
    """One run whole."""

    agent: str
    run_id: str
    urgency: Urgency
    reason: str


@dataclass(frozen=True, slots=True)
class RefillWindow:
    """No request: the ledger is to name the next runs whose detail an agent waits for."""

    agent: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is worth a request before this moment, unless something changes."""

    until_s: float


Request = ReadAgents | ReadHead | ReadGap | ReadStatus | ReadAgain | ReadRun
Decision = Request | RefillWindow | Wait


def plan(workspace: WorkspaceState, now_s: float, *, details: bool) -> Decision:
    """Choose what to do next; `details` False (outbox full) leaves every get-run for later."""
    if workspace.rest_until_s > now_s:
        return Wait(workspace.rest_until_s)
    if workspace.agents_due_s <= now_s and not workspace.agents_busy:
        return ReadAgents(workspace.agents_cursor, "the list of agents is due")

    agents = [agent for agent in workspace.agents.values() if agent.rest_until_s <= now_s]
    if details:
        for agent in agents:
            if agent.window_stale and agent.awaiting_total:
                return RefillWindow(agent.id)

    head = _head(agents, now_s)
    # Most agents want nothing but their next head scan.
    wanting = [agent for agent in agents if agent.wants_more]
    run = _run(wanting, now_s) if details else None
    # A backfill waits for everything else, and its list goes first: then it is known how much.
    live = None if run is not None and run.urgency is Urgency.BACKFILL else run
    if head is not None and (live is None or workspace.head_lead <= 1.0):
        return head
    return (
        _gap(wanting, GapPurpose.FRESH)
        or _sweep(wanting, now_s, details=details)
        or _reconcile(workspace, agents, now_s)
        or _backlog_turn(workspace, wanting, live)
        or live
        or _gap(wanting, GapPurpose.BACKFILL)
        or run
        or Wait(_next_moment(workspace, now_s))
    )


def note_spent(workspace: WorkspaceState, request: Request, now_s: float) -> None:
    """Keep the shares: what was chosen moves whose turn is next."""
    if isinstance(request, ReadAgain):
        pace_s = 60.0 / workspace.budget.requests_per_minute
        share = RECONCILE_SHARE_IN_BACKLOG if workspace.backlog_waits else RECONCILE_SHARE
        workspace.reconcile_ready_s = now_s + pace_s / share
    is_head = isinstance(request, ReadHead)
    lead = workspace.head_lead + ((1.0 - HEAD_SHARE) if is_head else -HEAD_SHARE)
    workspace.head_lead = min(2.0, max(-2.0, lead))
    if isinstance(request, ReadGap):
        workspace.backlog_turn = False
    elif isinstance(request, ReadRun):
        workspace.backlog_turn = True


def _head(agents: list[AgentState], now_s: float) -> ReadHead | None:
    due = [
        agent
        for agent in agents
        if agent.scans
        and agent.listed
        and agent.head_due_s <= now_s
        and Slot.HEAD not in agent.busy
    ]
    if not due:
        return None
    agent = min(due, key=lambda one: one.head_due_s)
    return ReadHead(agent.id, agent.head_limit, "its head scan is the most overdue")


def _gap(agents: list[AgentState], purpose: GapPurpose) -> ReadGap | None:
    waiting = [
        (agent, gap)
        for agent in agents
        if Slot.GAP not in agent.busy
        for gap in agent.gaps
        if gap.purpose is purpose
    ]
    if not waiting:
        return None
    agent, gap = min(waiting, key=lambda one: (one[0].served_s, -one[1].upper_ns))
    return ReadGap(agent.id, gap, f"runs of its {purpose.name.lower()} are still to be counted")


def _sweep(agents: list[AgentState], now_s: float, *, details: bool) -> ReadStatus | ReadRun | None:
    """The cheaper way to learn what became of the runs in flight that head pages do not show."""
    for agent in agents:
        if Slot.SWEEP in agent.busy:
            continue
        sweep = agent.sweep
        if sweep is not None:
            return ReadStatus(
                agent.id, sweep.statuses[0], sweep.cursor, "a sweep of runs in flight goes on"
            )
        if agent.has_fallen and agent.sweep_due_s <= now_s and (fallen := agent.fallen()):
            statuses = sweep_statuses({run.status for run in fallen.values()})
            if details and len(fallen) <= len(statuses) and fallen.keys().isdisjoint(agent.retries):
                # As many get-runs as pages, and one that has ended is settled by its own. Once: a
                # run that is still going may go on for long.
                waiting = [run_id for run_id in fallen if run_id not in agent.fetching]
                if not waiting:
                    continue
                reason = f"{len(fallen)} in flight off its head: no dearer than a page"
                return ReadRun(agent.id, waiting[0], Urgency.MUST, reason)
            return ReadStatus(
                agent.id,
                statuses[0],
                None,
                f"{len(fallen)} runs in flight have fallen off its head",
            )
    return None


def sweep_statuses(last_seen: set[str]) -> list[str]:
    """The statuses to list, in order: a run may go from accepted to running meanwhile, not back."""
    return ["running"] if last_seen == {"running"} else ["accepted", "running"]


def _backlog_turn(
    workspace: WorkspaceState, agents: list[AgentState], run: ReadRun | None
) -> ReadGap | None:
    """The look-back's next page: a hundred runs counted a request, but fresh runs every other."""
    if run is not None and run.urgency <= Urgency.FRESH and not workspace.backlog_turn:
        return None
    return _gap(agents, GapPurpose.LOOKBACK)


def _reconcile(
    workspace: WorkspaceState, agents: list[AgentState], now_s: float
) -> ReadAgain | None:
    if workspace.reconcile_ready_s > now_s:
        return None
    for agent in agents:
        if agent.scans and agent.scanned and Slot.RECONCILE not in agent.busy:
            if agent.reconcile is not None:
                return ReadAgain(agent.id, agent.reconcile.cursor, "a second reading goes on")
            if agent.reconcile_due_s <= now_s:
                return ReadAgain(agent.id, None, "its list is due for a second reading")
    return None


def _run(agents: list[AgentState], now_s: float) -> ReadRun | None:
    best: tuple[tuple[int, float, int], ReadRun] | None = None
    for agent in agents:
        found = _run_of(agent, now_s)
        if found is None:
            continue
        request, created_ns = found
        rank = (int(request.urgency), agent.served_s, created_ns)
        if best is None or rank < best[0]:
            best = (rank, request)
    return None if best is None else best[1]


def _run_of(agent: AgentState, now_s: float) -> tuple[ReadRun, int] | None:
    for run_id, created_ns in agent.ended.items():
        if _may_fetch(agent, run_id, now_s):
            return ReadRun(agent.id, run_id, Urgency.MUST, "it ended out of sight"), created_ns
    for run_id in agent.wanted:
        if _may_fetch(agent, run_id, now_s):
            return ReadRun(agent.id, run_id, Urgency.MUST, "it was asked for by name"), 0
    for one in agent.window:
        if _may_fetch(agent, one.id, now_s):
            reason = f"its detail is wanted ({one.urgency.name.lower()})"
            return ReadRun(agent.id, one.id, one.urgency, reason), one.created_ns
    return None


def _may_fetch(agent: AgentState, run_id: str, now_s: float) -> bool:
    if run_id in agent.fetching:
        return False
    retry = agent.retries.get(run_id)
    return retry is None or retry.due_s <= now_s


def _next_moment(workspace: WorkspaceState, now_s: float) -> float:
    """The earliest moment at which time alone makes something due."""
    moments = [_NEVER if workspace.agents_busy else workspace.agents_due_s]
    for agent in workspace.agents.values():
        if agent.rest_until_s > now_s:
            moments.append(agent.rest_until_s)
            continue
        if agent.scans and agent.listed and Slot.HEAD not in agent.busy:
            moments.append(agent.head_due_s)
        if agent.sweep_due_s > now_s and agent.has_fallen:
            moments.append(agent.sweep_due_s)
        if agent.scans and agent.scanned and Slot.RECONCILE not in agent.busy:
            due_s = now_s if agent.reconcile is not None else agent.reconcile_due_s
            moments.append(max(due_s, workspace.reconcile_ready_s))
        if agent.retries:
            moments += [retry.due_s for retry in agent.retries.values() if retry.due_s > now_s]
    return min(moments)
