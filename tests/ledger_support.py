"""Opens ledgers in files of their own, with one agent, and speaks to them in few words."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from exporter.conduit.models import Agent, Unreadable, Workspace
from exporter.ledger.file import LedgerFile
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import Coverage, EncodedTrace, Recorded, RunRecord, Settlement
from tests.fakes import START_NS

BASE_URL = "https://api.conduit.ai"
TODAY = date(2026, 4, 3)


def open_ledger(path: Path, *, base_url: str = BASE_URL, today: date = TODAY) -> Ledger:
    """A ledger at a path, new or not."""
    return Ledger(LedgerFile(path, base_url=base_url, now_ns=START_NS), today=lambda: today)


def add_agent(ledger: Ledger, agent_id: str = "ag1", *, floor_ns: int = 0) -> int:
    """Note an agent; its number."""

    def work(one: Ledger) -> int:
        one.agents.put_workspace(Workspace("ws1", "Harbor Hotels"))
        return one.agents.put_agent(Agent(agent_id, "ws1", "Guest messaging"), floor_ns=floor_ns).no

    number: int = do(ledger, work)
    return number


def do(ledger: Ledger, work: Callable[[Ledger], Any]) -> Any:
    """Do one work in a transaction of its own."""
    return ledger.transact([work])[0]


def record(
    ledger: Ledger,
    *records: RunRecord,
    floor_ns: int = 0,
    unreadable: Sequence[Unreadable] = (),
    coverage: Coverage | None = None,
) -> Recorded:
    """Record a page of agent 1."""
    found: Recorded = do(
        ledger,
        lambda one: one.runs.record_page(
            1,
            [known.run for known in records],
            decide={known.run: known for known in records}.__getitem__,
            unreadable=unreadable,
            coverage=coverage,
            floor_ns=floor_ns,
            now_ns=START_NS,
        ),
    )
    return found


def fetch(
    ledger: Ledger, one: RunRecord, trace: EncodedTrace | None, quarantine: str | None = None
) -> Recorded:
    """Record a detail of agent 1."""
    found: Recorded = do(
        ledger,
        lambda open_: open_.runs.record_detail(
            1, one, trace=trace, now_ns=START_NS, quarantine=quarantine
        ),
    )
    return found


def settle(ledger: Ledger, *settlements: Settlement, now_ns: int = START_NS) -> None:
    """Record what became of traces."""
    do(
        ledger,
        lambda one: one.traces.settle(
            settlements, now_ns=now_ns, spans_delivered=2, spans_rejected=0
        ),
    )
