"""Lets go of what retention no longer keeps, a small window of rows at a time.

Runs as the slowest of all stages: a window a transaction, so that no commit waits long behind it.
"""

from typing import Final

from exporter.clock import Clock
from exporter.ledger.gate import LedgerGate
from exporter.sync.state import AgentState

_WINDOW: Final = 2000
# A round of the whole ledger, at most every so often.
ROUND_S: Final = 600.0
_PAUSE_S: Final = 0.5


class Retention:
    """Forgets delivered traces and settled runs once they are old enough."""

    def __init__(
        self, *, gate: LedgerGate, clock: Clock, retention_s: float, lookback_s: float
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._retention_s = retention_s
        # What the look-back of a list scan may still show must stay known.
        self._keep_runs_s = max(retention_s, lookback_s)

    async def run_once(self, agents: list[AgentState]) -> None:
        """Go through the ledger once. Raises LedgerError."""
        now_ns = self._clock.now_ns()
        floor_ns = now_ns - round(self._keep_runs_s * 1e9)
        for agent in agents:
            if agent.scans and agent.floor_ns < floor_ns:
                number = agent.no
                agent.floor_ns = await self._gate.transact(
                    lambda ledger, no=number: ledger.agents.raise_floor(no, floor_ns)  # type: ignore[misc]
                )
        settled_before_ns = now_ns - round(self._retention_s * 1e9)
        after: int | None = 0
        while after is not None:
            start = after
            after = await self._gate.transact(
                lambda ledger, start=start: ledger.traces.prune(  # type: ignore[misc]
                    settled_before_ns=settled_before_ns, after_no=start, window=_WINDOW
                )
            )
            await self._clock.sleep(_PAUSE_S)
        after = 0
        while after is not None:
            start = after
            after = await self._gate.transact(
                lambda ledger, start=start: ledger.runs.prune(after_no=start, window=_WINDOW)  # type: ignore[misc]
            )
            await self._clock.sleep(_PAUSE_S)
