"""Lets go of what retention no longer keeps, a small window of rows at a time.

Runs as the slowest of all stages: a window a transaction, so that no commit waits long behind it.
"""

from collections.abc import Iterable
from typing import Final

from exporter.clock import Clock, ConduitTime
from exporter.ledger.gate import LedgerGate
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import AgentProgress
from exporter.sync.reading import REREAD_OVERLAP_NS
from exporter.sync.state import AgentState

_WINDOW: Final = 2000
# A round of the whole ledger, at most every so often.
ROUND_S: Final = 600.0
_PAUSE_S: Final = 0.5


class Retention:
    """Forgets delivered traces and settled runs once they are old enough."""

    def __init__(
        self,
        *,
        gate: LedgerGate,
        clock: Clock,
        time: ConduitTime,
        retention_s: float,
        lookback_s: float,
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._time = time
        self._retention_s = retention_s
        # What the look-back of a list scan may still show must stay known.
        self._keep_runs_s = max(retention_s, lookback_s)

    async def run_once(self, agents: Iterable[AgentState], *, pause_s: float = _PAUSE_S) -> None:
        """Go through the ledger once, with a pause after each window. Raises LedgerError."""
        # A clock that is ahead for a moment must not let go of anything.
        now_ns = min(self._time.now_ns(), self._clock.now_ns())
        floor_ns = now_ns - round(self._keep_runs_s * 1e9)
        for agent in agents:
            record = agent.progress.agent
            if not agent.scans or record.reread_ns is None:
                continue
            # What the next second reading finds late must not be too old to be counted by then.
            to_ns = min(floor_ns, record.reread_ns - REREAD_OVERLAP_NS)
            if record.floor_ns < to_ns:
                await self._raise_floor(agent, to_ns)
        before_ns = now_ns - round(self._retention_s * 1e9)
        while await self._gate.transact(
            lambda ledger: ledger.traces.prune(settled_before_ns=before_ns, max_traces=_WINDOW)
        ):
            await self._clock.sleep(pause_s)
        after: int | None = 0
        while after is not None:
            after = await self._prune_runs(before_ns, after)
            await self._clock.sleep(pause_s)
        await self._gate.transact(lambda ledger: ledger.prune_day_costs())

    async def _raise_floor(self, agent: AgentState, floor_ns: int) -> None:
        def work(ledger: Ledger) -> AgentProgress:
            ledger.agents.raise_floor(agent.no, floor_ns)
            return ledger.agents.progress(agent.no)

        agent.update(await self._gate.transact(work))

    async def _prune_runs(self, before_ns: int, after_no: int) -> int | None:
        return await self._gate.transact(
            lambda ledger: ledger.runs.prune(before_ns=before_ns, after_no=after_no, window=_WINDOW)
        )
