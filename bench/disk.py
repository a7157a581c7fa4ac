"""Bytes of the ledger for each delivered run of five tool calls, before and after retention."""

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from exporter.ledger.database import Database

from bench.figures import Figure, at_most
from bench.ledgers import LedgerPlan, write_ledger
from exporter.ledger.ledger import Ledger
from exporter.sync.state import PAGE_MOST

_BASE_URL: Final = "http://127.0.0.1:1"
_WINDOW: Final = 20 * PAGE_MOST


def measure_disk(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Write delivered runs, then let retention take their traces."""
    runs = 10_000 if quick else 200_000
    with tempfile.TemporaryDirectory() as folder:
        path, empty = Path(folder) / "ledger.db", Path(folder) / "empty.db"
        now_ns = time.time_ns()
        plan = LedgerPlan(base_url=_BASE_URL, runs=runs, agents=8, now_ns=now_ns)
        write_ledger(path, plan)
        Ledger(Database(url=f"sqlite:///{empty}", base_url=_BASE_URL)).close()
        bare = _used_bytes(empty)
        within = (_used_bytes(path) - bare) / runs
        _forget_traces(path, after_ns=now_ns + 1)
        after = (_used_bytes(path) - bare) / runs
        kept = path.stat().st_size / runs
    yield Figure(
        what="ledger bytes a delivered run of 5 tool calls, within retention",
        measured=within,
        unit="B",
        bound=at_most(1_200),
    )
    yield Figure(
        what="... after it, while its look-back still knows the run",
        measured=after,
        unit="B",
        bound=at_most(150),
        note=f"the file keeps its size ({kept:.0f} B a run): free pages are used again",
    )


def _used_bytes(path: Path) -> int:
    """What is in use of the file: free pages left out."""
    connection = sqlite3.connect(path)
    try:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)
    finally:
        connection.close()


def _forget_traces(path: Path, *, after_ns: int) -> None:
    """What the retention stage does, window by window, without its pauses."""
    ledger = Ledger(Database(url=f"sqlite:///{path}", base_url=_BASE_URL))
    try:
        at: int | None = 0
        while at is not None:
            at = ledger.transact([partial(_prune, after_no=at, settled_before_ns=after_ns)])[0]
    finally:
        ledger.close()


def _prune(ledger: Ledger, *, after_no: int, settled_before_ns: int) -> int | None:
    return ledger.traces.prune(
        settled_before_ns=settled_before_ns, after_no=after_no, window=_WINDOW
    )
