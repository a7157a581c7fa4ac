"""One workspace at work: asks the plan what to do next, pays for it, does it, lives with failures.

The loop is thin: every choice is the plan's, every write the recorder's. A request runs as a task
of its own, so that a slow answer does not hold up the pace.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Final

from exporter.clock import Clock
from exporter.errors import (
    LedgerError,
    SourceError,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    SourceRateLimited,
    SourceRejected,
    SourceUnauthorized,
)
from exporter.ledger.gate import LedgerGate
from exporter.sync.budget import backoff_s
from exporter.sync.plan import (
    ReadAgain,
    ReadAgents,
    ReadGap,
    ReadHead,
    ReadRun,
    ReadStatus,
    RefillWindow,
    Request,
    Wait,
    note_spent,
    plan,
)
from exporter.sync.reading import AgentReader
from exporter.sync.roster import Roster
from exporter.sync.source import SyncObserver
from exporter.sync.state import WINDOW_MOST, AgentState, Slot, WorkspaceState

logger = logging.getLogger("exporter.sync")

# Requests under way at once: enough to keep a pace of two a second through answers that take
# twelve, and for commits to be shared where the pace is higher.
_MOST_IN_FLIGHT: Final = 24
_FORBIDDEN_REST_S: Final = 300.0
_SLOT_OF: Final = {
    ReadHead: Slot.HEAD,
    ReadGap: Slot.GAP,
    ReadStatus: Slot.SWEEP,
    ReadAgain: Slot.RECONCILE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncParts:
    """What every workspace works with."""

    gate: LedgerGate
    reader: AgentReader
    roster: Roster
    observer: SyncObserver
    clock: Clock
    rng: random.Random
    outbox_limit_bytes: int


class WorkspaceSync:
    """Keeps one workspace read, within its budget, until it is told to stop."""

    def __init__(self, state: WorkspaceState, parts: SyncParts) -> None:
        self.state = state
        self._parts = parts
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._doubts = parts.gate.doubts

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            await self.run_once()
        await self._finish()

    async def run_until_settled(self) -> None:
        """Work until nothing is left that a request could bring, or trouble does not pass."""
        while not self._stopping and not self.settled and not self.stuck:
            await self.run_once()
        await self._finish()

    def stop(self) -> None:
        """Make no further request; what is under way is given up, it will be asked for again."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._changed.set()

    def wake(self) -> None:
        """Something changed from outside: decide anew."""
        self._changed.set()

    @property
    def settled(self) -> bool:
        """Whether all that the API shows now was read, counted and fetched."""
        state = self.state
        return (
            state.discovered
            and not self._tasks
            and all(
                agent.retired
                or (
                    (agent.head_read or not agent.scans)
                    and not agent.gaps
                    and not agent.awaiting
                    and not agent.ended
                    and not agent.wanted
                )
                for agent in state.agents.values()
            )
        )

    @property
    def stuck(self) -> bool:
        """Whether failures have gone on for so long that one pass should give up."""
        worst = max((agent.failures for agent in self.state.agents.values()), default=0)
        return max(self.state.failures, worst) >= _STUCK_AFTER

    async def run_once(self) -> None:
        """Take one decision and act on it, or wait for the moment of the next."""
        parts, state = self._parts, self.state
        now_s = parts.clock.monotonic_s()
        in_doubt = self._doubts != parts.gate.doubts
        if len(self._tasks) >= (1 if in_doubt else _MOST_IN_FLIGHT):
            # Until some of these are recorded no further request is made.
            parts.gate.hurry()
            await self._wait()
            return
        if in_doubt:
            doubts = parts.gate.doubts
            await parts.roster.reload(state)
            self._doubts = doubts
            return
        decision = plan(state, now_s, details=self._details_allowed())
        if isinstance(decision, Wait):
            await self._wait(decision.until_s)
            return
        if isinstance(decision, RefillWindow):
            await self._refill(state.agents[decision.agent])
            return
        ready_s = state.budget.ready_at()
        if ready_s > now_s:
            # Decide again when it can be paid: by then something better may have come up.
            await parts.clock.sleep(ready_s - now_s)
            return
        state.budget.take(now_s)
        note_spent(state, decision, now_s)
        self._start(decision, now_s)

    def _details_allowed(self) -> bool:
        outbox = self._parts.gate.ledger.outbox_state
        return outbox.stored_bytes < self._parts.outbox_limit_bytes and (
            self._parts.gate.fault is None
        )

    async def _wait(self, until_s: float = float("inf")) -> None:
        """Until something changes, or this moment has come."""
        self._changed.clear()
        alarm: asyncio.TimerHandle | None = None
        if until_s != float("inf"):
            delay_s = max(0.0, until_s - self._parts.clock.monotonic_s())
            alarm = asyncio.get_running_loop().call_later(delay_s, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _refill(self, agent: AgentState) -> None:
        agent.window_stale = False
        agent.window = await self._parts.gate.transact(
            lambda ledger: ledger.runs.awaiting(agent.no, most=WINDOW_MOST)
        )

    def _start(self, request: Request, now_s: float) -> None:
        state = self.state
        logger.debug("%s: %s", state.id, request)
        if isinstance(request, ReadAgents):
            state.agents_busy = True
        else:
            agent = state.agents[request.agent]
            agent.served_s = now_s
            if isinstance(request, ReadRun):
                agent.fetching.add(request.run_id)
            else:
                agent.busy.add(_SLOT_OF[type(request)])
        task = asyncio.create_task(self._perform(request), name=type(request).__name__)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a request ended in a fault of this program", exc_info=error)

    async def _finish(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _perform(self, request: Request) -> None:
        state = self.state
        agent = None if isinstance(request, ReadAgents) else state.agents[request.agent]
        try:
            if isinstance(request, ReadAgents):
                await self._parts.roster.read_agents(state)
            elif agent is not None:
                await self._parts.reader.read(state, agent, request)
        except SourceError as exc:
            self._failed(request, agent, exc)
        except LedgerError as exc:
            logger.debug("not recorded: %s", exc)
        else:
            self._succeeded(agent)
        finally:
            if isinstance(request, ReadAgents):
                state.agents_busy = False
            elif agent is not None:
                if isinstance(request, ReadRun):
                    agent.fetching.discard(request.run_id)
                else:
                    agent.busy.discard(_SLOT_OF[type(request)])

    def _succeeded(self, agent: AgentState | None) -> None:
        state = self.state
        if state.up is False:
            logger.info("workspace %s: Conduit answers again", state.id)
        state.up, state.failures, state.trouble = True, 0, None
        state.budget.accepted()
        if agent is not None:
            agent.failures = 0

    def _failed(self, request: Request, agent: AgentState | None, error: SourceError) -> None:
        """Rest as far as the failure reaches: one agent for its own, the workspace for the rest."""
        state, parts = self.state, self._parts
        now_s = parts.clock.monotonic_s()
        if isinstance(error, SourceRateLimited):
            rest_s = state.budget.rest(now_s, error.retry_after_s, parts.rng)
            parts.observer.rate_limited(state.id)
            level = logging.ERROR if error.absurd else logging.WARNING
            logger.log(level, "workspace %s: 429, resting %.1f s: %s", state.id, rest_s, error)
            state.up = True
            return
        own = agent is not None and isinstance(
            error, (SourceMalformed, SourceNotFound, SourceRejected)
        )
        if own and agent is not None:
            agent.failures += 1
            agent.rest_until_s = now_s + backoff_s(agent.failures + 2, parts.rng)
            logger.warning("agent %s: %s (%s)", agent.id, error, type(request).__name__)
            state.up = not isinstance(error, SourceMalformed)
            return
        state.failures += 1
        rest_s = (
            _FORBIDDEN_REST_S
            if isinstance(error, SourceForbidden)
            else backoff_s(state.failures, parts.rng)
        )
        if isinstance(error, SourceUnauthorized):
            rest_s = max(rest_s, min(_FORBIDDEN_REST_S, 5.0 * 2 ** min(state.failures - 1, 10)))
        state.rest_until_s = now_s + rest_s
        if state.trouble is None:
            logger.warning("workspace %s: %s; trying again in %.0f s", state.id, error, rest_s)
        state.up, state.trouble = False, str(error)


_STUCK_AFTER: Final = 5
