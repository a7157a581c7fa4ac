"""The committed totals in memory: what /metrics shows, without touching the file.

A transaction collects its additions in a `TotalsDelta`; they are written in that transaction and
applied here only after its commit. Sums are exact: integers and decimals, never floats.
"""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from enum import StrEnum
from typing import Final, NamedTuple

Number = int | Decimal

# Wide enough that no sum of money is ever rounded: 40 decimal places and a million million dollars.
_EXACT: Final = Context(prec=80)


class Family(StrEnum):
    """What is summed, and by which labels beside the agent."""

    RUNS = "runs"  # status, disposition
    TOKENS = "tokens"  # token type
    COST_USD = "cost_usd"
    UNPRICED = "unpriced"
    PRICE_BUCKET = "price_bucket"  # upper bound; not cumulative
    DURATION_BUCKET = "duration_bucket"  # status, upper bound; not cumulative
    DURATION_NS = "duration_ns"  # status
    TOOL_CALLS = "tool_calls"  # tool
    TOOL_ERRORS = "tool_errors"  # tool
    LAST_RUN_NS = "last_run_ns"  # a maximum
    REVISIONS = "revisions"
    AWAITING_DETAIL = "awaiting_detail"  # goes down as well
    # Of the whole exporter: agent 0.
    QUARANTINED = "quarantined"  # reason
    TRACES_PENDING = "traces_pending"  # goes down as well, as do the next two
    TRACES_PARKED = "traces_parked"
    OUTBOX_BYTES = "outbox_bytes"
    TRACES_DELIVERED = "traces_delivered"
    SPANS_DELIVERED = "spans_delivered"
    TRACES_REJECTED = "traces_rejected"
    SPANS_REJECTED = "spans_rejected"


class TotalKey(NamedTuple):
    """One sum: its family, the agent's number (0: whole exporter) and up to two labels."""

    family: str
    agent_no: int = 0
    label1: str = ""
    label2: str = ""


class TotalsDelta:
    """What one transaction adds."""

    def __init__(self) -> None:
        self.sums: dict[TotalKey, Number] = {}
        self.maxima: dict[TotalKey, int] = {}
        # By (day, agent).
        self.day_costs: dict[tuple[str, int], Decimal] = {}

    def add(
        self, family: Family, amount: Number, agent_no: int = 0, label1: str = "", label2: str = ""
    ) -> None:
        """Add to a sum; adding zero makes the series exist."""
        key = TotalKey(family, agent_no, label1, label2)
        self.sums[key] = plus(self.sums.get(key, 0), amount)

    def raise_to(self, family: Family, value: int, agent_no: int) -> None:
        """Keep the largest value seen."""
        key = TotalKey(family, agent_no)
        self.maxima[key] = max(value, self.maxima.get(key, value))

    def add_cost(self, day: str, agent_no: int, cost_usd: Decimal) -> None:
        """Add to the cost of a calendar day."""
        before = self.day_costs.get((day, agent_no), Decimal(0))
        self.day_costs[day, agent_no] = _EXACT.add(before, cost_usd)


class Totals:
    """Every sum as last committed."""

    def __init__(self, rows: Iterable[tuple[TotalKey, str]] = ()) -> None:
        self._values: dict[TotalKey, Number] = {key: _parse(text) for key, text in rows}

    def get(self, family: Family, agent_no: int = 0, label1: str = "", label2: str = "") -> Number:
        """The sum, zero if nothing was ever added."""
        return self._values.get(TotalKey(family, agent_no, label1, label2), 0)

    def items(self) -> Iterator[tuple[TotalKey, Number]]:
        """A snapshot that later commits do not disturb."""
        return iter(list(self._values.items()))

    def after(self, delta: TotalsDelta) -> dict[TotalKey, Number]:
        """The new values of everything that `delta` touches, nothing applied yet."""
        values = {key: plus(self._values.get(key, 0), amount) for key, amount in delta.sums.items()}
        for key, value in delta.maxima.items():
            values[key] = max(value, int(self._values.get(key, 0)))
        return values

    def apply(self, values: dict[TotalKey, Number]) -> None:
        """Take over what a commit has made true."""
        self._values.update(values)


def plus(left: Number, right: Number) -> Number:
    """The exact sum."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return _EXACT.add(Decimal(left), Decimal(right))


def number_to_text(value: Number) -> str:
    """The text that is stored; never scientific."""
    return str(value) if isinstance(value, int) else format(value, "f")


def _parse(text: str) -> Number:
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)
