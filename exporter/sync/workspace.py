"""One workspace at work: asks the plan what to do next, pays for it, does it, lives with failures.

The loop is thin: every choice is the plan's, every record the reader's. A request runs as a task of
its own, so that a slow answer does not hold up the pace. A fault of this program ends the stage.
"""

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from typing import Final

from exporter.clock import Clock, ConduitTime
from exporter.errors import (
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceRateLimited,
    SourceUnauthorized,
)
from exporter.ledger.gate import LedgerGate
from exporter.ledger.records import GapPurpose
from exporter.metrics.instruments import Instruments
from exporter.sync.budget import pay
from exporter.sync.discovery import Discovery
from exporter.sync.health import (
    LIST_RETRY_S,
    PAGE_RETRY_S,
    PASS_RETRY_S,
    RUN_RETRY_S,
    Retry,
    next_retry,
)
from exporter.sync.plan import Present, plan
from exporter.sync.reading import AgentReader
from exporter.sync.recording import GivenUp, Recorder
from exporter.sync.requests import (
    Kind,
    ReadAgents,
    Reading,
    ReadPage,
    ReadRun,
    Request,
    Target,
    Wait,
)
from exporter.sync.state import AgentState, WorkspaceState

logger = logging.getLogger("exporter.sync")

# Requests under way at once: a pace of two a second through answers that take twelve.
_UNDER_WAY_MAX: Final = 24
_FORBIDDEN_REST_S: Final = 300.0
_UNAUTHORIZED_REST_S: Final = 5.0
# One pass gives up on an API that is down after so many probes.
_PASS_PROBES: Final = 6
# What would be asked again only after so long is not waited for by a pass.
_PASS_PATIENCE_S: Final = 30.0
_LOOK_AGAIN_S: Final = 30.0
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncParts:
    """What every workspace works with; `once` reads all that is visible now and ends."""

    gate: LedgerGate
    reader: AgentReader
    recorder: Recorder
    discovery: Discovery
    instruments: Instruments
    clock: Clock
    time: ConduitTime
    rng: random.Random
    poll_interval_s: float
    once: bool = False


class WorkspaceSync:
    """Keeps one workspace read, within its budget, until it is told to stop."""

    def __init__(self, state: WorkspaceState, parts: SyncParts) -> None:
        self.state = state
        self._parts = parts
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`. Raises LedgerError, and whatever is a fault of this program."""
        try:
            while not self._stopping:
                await self.run_once()
        finally:
            await self._finish()

    async def run_until_settled(self) -> None:
        """Work until nothing is left that a request could bring, or trouble does not pass."""
        try:
            while not self._stopping and not self.settled:
                await self.run_once()
            self._raise_faults()
        finally:
            await self._finish()

    async def list_agents(self) -> list[str]:
        """Read the list of agents and nothing else; what failed, in words."""
        parts, state = self._parts, self.state
        failures = 0
        while not (state.discovered or self._stopping):
            await pay(state.budget, parts.clock)
            try:
                await parts.discovery.read_agents(state)
            except SourceError as exc:
                failures += 1
                if failures > len(PASS_RETRY_S):
                    return [f"workspace {state.id}: {exc}"]
                if isinstance(exc, SourceRateLimited):
                    self._rate_limited(exc, parts.clock.monotonic_s())
                await parts.clock.sleep(PASS_RETRY_S[failures - 1])
            else:
                state.budget.accepted()
        return []

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
        """Whether nothing is left that this pass could bring."""
        if any(not task.done() for task in self._tasks):
            return False
        state = self.state
        if state.refusals or state.health.failures >= _PASS_PROBES:
            return True
        # What waits for room in the outbox is left as well.
        now = replace(self._present(), details=True)
        decision = plan(state, now)
        return isinstance(decision, Wait) and decision.until_s - now.s > _PASS_PATIENCE_S

    def troubles(self) -> list[str]:
        """What a pass could not read, in words."""
        state, found = self.state, []
        if state.up is False or not (state.discovered or state.agents):
            found.append(
                f"workspace {state.id}: {state.last_error or 'its agents could not be listed'}"
            )
        elif state.agents_retry is not None:
            found.append(f"workspace {state.id}: its list of agents could not be read whole")
        for agent in state.agents.values():
            gaps = {gap.purpose for gap in agent.progress.gaps} if agent.listed else set()
            unread = Reading.HEAD in agent.retries or not agent.head_read
            if agent.listed and agent.scans and unread:
                found.append(f"agent {agent.id}: its list of runs could not be read")
            elif gaps and (agent.scans or GapPurpose.BACKFILL in gaps):
                found.append(f"agent {agent.id}: its list of runs could not be read to its end")
            if agent.listed and agent.reread is not None:
                found.append(f"agent {agent.id}: its list of runs could not be read a second time")
            failed = {one for one in agent.retries if isinstance(one, str) and agent.failures(one)}
            found += [
                f"run {run_id} of agent {agent.id}: could not be fetched"
                for run_id in sorted(failed)
            ]
            found += [
                f"run {run_id} of agent {agent.id}: has not ended"
                for run_id in sorted(agent.wanted.keys() - failed)
            ]
        return found

    async def run_once(self) -> None:
        """Take one decision and act on it, or wait for the moment of the next."""
        state = self.state
        self._raise_faults()
        now, ready_s = self._present(), state.budget.ready_at()
        if len(self._tasks) >= _UNDER_WAY_MAX:
            await self._wait()
        elif ready_s > now.s:
            # Decided when it can be paid: by then something better may have come up.
            await self._wait(ready_s)
        elif isinstance(decision := plan(state, now), Wait):
            # Nobody tells when the ledger takes writes again.
            await self._wait(min(decision.until_s, now.s + _LOOK_AGAIN_S))
        else:
            state.budget.take(now.s)
            self._start(decision, now.s)

    def _present(self) -> Present:
        parts = self._parts
        return Present(
            s=parts.clock.monotonic_s(),
            ns=parts.time.now_ns(),
            poll_interval_s=parts.poll_interval_s,
            once=parts.once,
            details=parts.recorder.has_room and parts.gate.fault is None,
        )

    async def _wait(self, until_s: float = _NEVER) -> None:
        """Until something changes, or this moment has come."""
        self._changed.clear()
        alarm: asyncio.TimerHandle | None = None
        if until_s != _NEVER:
            delay_s = max(0.0, until_s - self._parts.clock.monotonic_s())
            alarm = asyncio.get_running_loop().call_later(delay_s, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    def _start(self, request: Request, now_s: float) -> None:
        state = self.state
        logger.debug("%s: %s", state.id, request)
        self._parts.instruments.budget_request(state.id, request.purpose)
        # Told now: the agent may have moved to another workspace by the time the task begins.
        agent = state.begin(request, now_s)
        task = asyncio.create_task(self._perform(request, agent), name=type(request).__name__)
        self._tasks.add(task)
        task.add_done_callback(lambda _task: self._changed.set())

    def _raise_faults(self) -> None:
        """Let go of what has ended; a fault of this program ends the stage."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _finish(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _perform(self, request: Request, agent: AgentState | None) -> None:
        state, reader = self.state, self._parts.reader
        target: Target = Reading.HEAD
        try:
            if agent is None or isinstance(request, ReadAgents):
                await self._parts.discovery.read_agents(state)
            elif isinstance(request, ReadRun):
                target = request.target
                await reader.read_run(state.id, agent, request)
            else:
                target = agent.blamed(request)
                await reader.read_list(state.id, agent, request)
        except SourceError as exc:
            await self._failed(request, agent, target, exc)
        else:
            self._answered(request.kind)
            if agent is not None and isinstance(request, ReadPage):
                agent.answered(target)
        finally:
            state.end(request, agent)

    # --- answers and failures --------------------------------------------------------------------

    def _answered(self, kind: Kind) -> None:
        state = self.state
        was_up = state.up
        state.contacted, state.refusals = True, 0
        state.health.answered(kind)
        state.budget.accepted()
        if was_up is False and state.up:
            logger.info("workspace %s: Conduit answers again", state.id)

    async def _failed(
        self, request: Request, agent: AgentState | None, target: Target, error: SourceError
    ) -> None:
        """Let a failure hold up what it is evidence against, and nothing else."""
        state, parts = self.state, self._parts
        now_s = parts.clock.monotonic_s()
        state.contacted = True
        state.last_error, state.last_error_ns = str(error), parts.clock.now_ns()
        if isinstance(error, SourceRateLimited):
            self._rate_limited(error, now_s)
            return
        if isinstance(error, SourceUnauthorized):
            self._refused(error, now_s)
            return
        if not isinstance(error, SourceForbidden):
            state.refusals = 0
        state.budget.accepted()
        was_up = state.up
        if agent is None:
            known_broken = state.agents_retry is not None and state.agents_retry.attempts > 0
        else:
            suspects = {target} if isinstance(request, ReadRun) else {target, Reading.HEAD}
            known_broken = any(agent.failures(one) for one in suspects)
        blame = state.health.failed(
            request.kind,
            None if agent is None else (agent.id, target if isinstance(request, ReadRun) else None),
            error,
            known_broken=known_broken,
            now_s=now_s,
            rng=parts.rng,
        )
        if isinstance(error, SourceForbidden) and (state.health.failures or not state.agents):
            # One target alone may be what a firewall forbids.
            self._refused(error, now_s)
        elif was_up is not False and not state.up:
            logger.warning("workspace %s: Conduit does not answer: %s", state.id, error)
        if agent is None or isinstance(request, ReadAgents):
            self._agents_failed(error, now_s, blame=blame)
        elif isinstance(request, ReadRun):
            await self._run_failed(agent, request, error, now_s, blame=blame)
        elif target is Reading.HEAD:
            self._list_failed(agent, error, now_s, blame=blame)
        else:
            await self._page_failed(agent, request, now_s, blame=blame)

    def _rate_limited(self, error: SourceRateLimited, now_s: float) -> None:
        state, parts = self.state, self._parts
        rest_s = state.budget.rest(now_s, error.retry_after_s, parts.rng)
        state.rate_limited_ns = parts.clock.now_ns()
        parts.instruments.rate_limited(state.id)
        level = logging.ERROR if error.absurd else logging.WARNING
        logger.log(level, "workspace %s: 429, resting %.1f s: %s", state.id, rest_s, error)

    def _refused(self, error: SourceError, now_s: float) -> None:
        """The token is refused: ask seldom, serve on."""
        state = self.state
        if now_s < state.refused_until_s:
            # Under way since before the rest began: nothing new.
            return
        state.refusals += 1
        rest_s = _FORBIDDEN_REST_S
        if isinstance(error, SourceUnauthorized):
            rest_s = min(rest_s, _UNAUTHORIZED_REST_S * 2 ** min(state.refusals - 1, 10))
        state.refused_until_s = now_s + rest_s
        if state.refusals == 1:
            logger.warning("workspace %s: %s; asking again in %.0f s", state.id, error, rest_s)

    def _agents_failed(self, error: SourceError, now_s: float, *, blame: bool) -> None:
        state, cursor = self.state, self.state.agents_pager.cursor
        if state.agents_retry is None:
            logger.warning(
                "workspace %s: its list of agents cannot be read: %s; agents that are known go on",
                state.id,
                error,
            )
        delays_s = LIST_RETRY_S if cursor is None else PAGE_RETRY_S
        retry = self._next_retry(state.agents_retry, delays_s, now_s, blame=blame)
        state.agents_retry = retry
        if cursor is not None and retry.attempts > len(PAGE_RETRY_S):
            self._parts.discovery.restart(state, "the page behind its cursor cannot be read")

    def _list_failed(
        self, agent: AgentState, error: SourceError, now_s: float, *, blame: bool
    ) -> None:
        before = agent.retries.get(Reading.HEAD)
        agent.retries[Reading.HEAD] = self._next_retry(before, LIST_RETRY_S, now_s, blame=blame)
        if blame:
            logger.warning("agent %s: its list of runs cannot be read: %s", agent.id, error)
        # Is the agent gone, or is it the API? The list of agents tells either.
        self._parts.discovery.look_again(self.state)

    async def _page_failed(
        self, agent: AgentState, request: ReadPage, now_s: float, *, blame: bool
    ) -> None:
        """Ask for a page behind a cursor a few times; then its cursor counts as dead."""
        before = agent.retries.pop(request.target, None)
        retry = self._next_retry(before, PAGE_RETRY_S, now_s, blame=blame)
        if retry.attempts > len(PAGE_RETRY_S) or retry.due_s == _NEVER:
            await self._parts.reader.drop_cursor(agent, request)
        else:
            agent.retries[request.target] = retry

    async def _run_failed(
        self, agent: AgentState, request: ReadRun, error: SourceError, now_s: float, *, blame: bool
    ) -> None:
        parts, run_id = self._parts, request.target
        retry = self._next_retry(agent.retries.get(run_id), RUN_RETRY_S, now_s, blame=blame)
        agent.retries[run_id] = retry
        if not blame:
            return
        logger.debug("run %s of agent %s: %s", run_id, agent.id, error)
        if parts.once:
            if retry.due_s == _NEVER:
                # A pass counts as one attempt: another one, or the daemon, goes on.
                before = {one.id: one.attempts for one in agent.progress.retrying}
                failed = Retry(before.get(run_id, 0), now_s)
                wait = next_retry(failed, RUN_RETRY_S, now_s, parts.rng, blame=True)
                await parts.recorder.failed(agent, run_id, wait)
        elif retry.attempts <= len(RUN_RETRY_S) or self.state.health.is_open(Kind.RUN):
            # While no run at all can be fetched, none is given up.
            await parts.recorder.failed(agent, run_id, retry)
        else:
            logger.warning(
                "run %s of agent %s is given up, it stays counted: %s", run_id, agent.id, error
            )
            gone = isinstance(error, SourceNotFound)
            reason = GivenUp.GONE if gone else GivenUp.UNAVAILABLE
            await parts.recorder.give_up(agent, run_id, reason)

    def _next_retry(
        self, retry: Retry | None, delays_s: tuple[float, ...], now_s: float, *, blame: bool
    ) -> Retry:
        """When a target that failed is asked for again; a pass gives it up after a few times."""
        once = self._parts.once
        delays_s = PASS_RETRY_S if once else delays_s
        following = next_retry(retry, delays_s, now_s, self._parts.rng, blame=blame)
        if once and following.attempts > len(delays_s):
            following.due_s = _NEVER
        return following
