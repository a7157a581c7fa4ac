"""A measured figure, the bound beside it, and the table of them; measures nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_HEAD: Final = ("figure", "measured", "bound", "", "command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table; `bound` None where there is nothing to reach."""

    what: str
    measured: float
    unit: str = ""
    bound: float | None = None
    kind: Literal["<=", ">="] = "<="

    @property
    def missed(self) -> bool:
        """Whether the bound is not kept."""
        if self.bound is None:
            return False
        return self.measured > self.bound if self.kind == "<=" else self.measured < self.bound


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named measurement that yields its figures."""

    name: str
    about: str
    measure: Callable[[], Iterator[Figure]]


def render(rows: Sequence[tuple[str, Figure]]) -> str:
    """The figures of benchmarks, by name, as a table in Markdown."""
    cells = [_HEAD, *(_cells(name, figure) for name, figure in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(_HEAD))]
    cells.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in cells
    )


def _cells(name: str, figure: Figure) -> tuple[str, ...]:
    bound = verdict = ""
    if figure.bound is not None:
        bound = f"{figure.kind} {_number(figure.bound, figure.unit)}"
        verdict = "MISSED" if figure.missed else "ok"
    measured = _number(figure.measured, figure.unit)
    return figure.what, measured, bound, verdict, f"`python -m bench {name}`"


def _number(value: float, unit: str) -> str:
    digits = 0 if value == int(value) else max(0, 3 - len(str(int(abs(value)))))
    return f"{value:,.{digits}f} {unit}".rstrip()
