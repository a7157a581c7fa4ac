"""Lets go of what retention no longer keeps, a small window of rows at a time.

Runs as the slowest of all stages: a window a transaction, so that no commit waits long behind it.
"""

from collections.abc import Iterable
from typing import Final

from exporter.clock import Clock
from exporter.ledger.gate import LedgerGate
from exporter.sync.conduit_time import ConduitTime
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

    async def run_once(self, agents: Iterable[AgentState]) -> None:
        """Go through the ledger once. Raises LedgerError."""
        now_ns = self._time.now_ns()
        floor_ns = now_ns - round(self._keep_runs_s * 1e9)
        for agent in agents:
            if agent.scans and agent.progress.agent.floor_ns < floor_ns:
                await self._raise_floor(agent, floor_ns)
        before_ns = now_ns - round(self._retention_s * 1e9)
        while await self._gate.transact(
            lambda ledger: ledger.traces.prune(settled_before_ns=before_ns, max_traces=_WINDOW)
        ):
            await self._clock.sleep(_PAUSE_S)
        after: int | None = 0
        while after is not None:
            after = await self._prune_runs(before_ns, after)
            await self._clock.sleep(_PAUSE_S)
        await self._gate.transact(lambda ledger: ledger.prune_day_costs())

    async def _raise_floor(self, agent: AgentState, floor_ns: int) -> None:
        number = agent.no
        await self._gate.transact(lambda ledger: ledger.agents.raise_floor(number, floor_ns))
        agent.update(await self._gate.transact(lambda ledger: ledger.agents.progress(number)))

    async def _prune_runs(self, before_ns: int, after_no: int) -> int | None:
        return await self._gate.transact(
            lambda ledger: ledger.runs.prune(before_ns=before_ns, after_no=after_no, window=_WINDOW)
        )
