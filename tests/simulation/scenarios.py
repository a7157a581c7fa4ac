"""Scenarios that simulations share, and what must hold at the end of each."""

from collections.abc import Callable

from sqlalchemy import func, select

from exporter.app.assembly import Exporter
from exporter.convert.ids import trace_id_of
from exporter.demo.directory import Scenario, SimAgent, SimWorkspace
from exporter.demo.generator import Disorder, GeneratedRuns, RunProfile
from exporter.ledger import families, schema
from exporter.ledger.ledger import Ledger
from tests.simulation.world import World

HOUR_S = 3600.0
ONE_WORKSPACE = "j57sim"


def agents(
    count: int = 1,
    *,
    per_hour: float = 60,
    history_s: float = 0,
    disorder: Disorder | None = None,
    duration_s: tuple[float, float, float] = (2.0, 6.0, 60.0),
    created_step_ms: int = 1,
) -> Callable[[int], Scenario]:
    """A scenario of one workspace whose agents get so many runs an hour each."""

    def make(start_ns: int) -> Scenario:
        profile = RunProfile(
            runs_per_hour=per_hour,
            duration_s=duration_s,
            created_step_ms=created_step_ms,
            disorder=disorder or Disorder(),
            dispositions={"resolved": 8, "escalated": 1, None: 1},
        )
        return Scenario(
            workspaces=[SimWorkspace(ONE_WORKSPACE, "Simulated")],
            agents=[
                SimAgent(
                    id=f"ag77{number:028d}",
                    workspace_id=ONE_WORKSPACE,
                    name=f"Agent {number}",
                    runs=GeneratedRuns(
                        agent_id=f"ag77{number:028d}",
                        seed=number,
                        start_ns=start_ns - round(history_s * 1e9),
                        profile=profile,
                    ),
                )
                for number in range(count)
            ],
            tokens={"token": (ONE_WORKSPACE,)},
        )

    return make


async def settle(world: World, *, most_s: float = 2 * HOUR_S) -> None:
    """Let time pass until every run that has ended is delivered; nothing may stay behind."""
    for _ in range(int(most_s / 30)):
        truth = world.conduit.data.truth()
        assert world.exporter is not None
        if (
            world.sums().get(families.RUNS, 0) >= len(truth.run_ids)
            and world.exporter.ledger.outbox_state.pending == 0
            and not _wanted(world.exporter)
        ):
            return
        await world.sleep(30)


def _wanted(exporter: Exporter) -> int:
    """How many details are still wanted by the ledger: what the stages know of it is a step behind.

    Right after a start they know of no agent yet.
    """

    def count(ledger: Ledger) -> int:
        rows = select(func.count()).select_from(schema.run).where(schema.RUN_AWAITS_DETAIL)
        return int(ledger._db.execute(rows).scalar_one())

    ended = [
        run_id
        for workspace in exporter.workspaces().values()
        for agent in workspace.agents.values()
        for run_id in agent.ended
    ]
    wanted: int = exporter.ledger.transact([count])[0]
    return wanted + len(ended)


def assert_exact(world: World) -> None:
    """The totals are the truth, every trace is visible, none changed, no detail came twice."""
    truth = world.conduit.data.truth()
    sums = world.sums()
    assert sums.get(families.RUNS, 0) == len(truth.run_ids)
    tokens = sum(truth.input_tokens.values()) + sum(truth.output_tokens.values())
    assert sums.get(families.TOKENS, 0) == tokens
    assert sums.get(families.COST_USD, 0) == sum(truth.cost_usd.values())
    assert sums.get(families.UNPRICED, 0) == sum(truth.unpriced.values())
    assert world.backend.traces == trace_ids(world)
    assert world.backend.changed == []


def trace_ids(world: World, *, created_from_ns: int = 0) -> set[bytes]:
    """The trace ids of all runs that have ended by now."""
    return {
        trace_id_of(
            raw=world.conduit.data.run(run_id).trace_id,
            workspace_id=ONE_WORKSPACE,
            run_id=run_id,
        )
        for run_id in world.conduit.data.truth(created_from_ns=created_from_ns).run_ids
    }
