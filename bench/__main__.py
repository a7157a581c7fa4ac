"""`python -m bench`: measures everything, or what is named, and prints the table."""

import logging
import sys
from collections.abc import Iterator
from typing import Final

import click

from bench import disk, pages, processes, simulated, week
from bench.figures import Benchmark, Figure, render

BENCHMARKS: Final = (
    Benchmark(
        name="history",
        about="requests a traced run, from a history",
        measure=simulated.measure_history,
    ),
    Benchmark(
        name="arriving",
        about="requests a traced run, while many arrive and last",
        measure=simulated.measure_arriving,
    ),
    Benchmark(
        name="backlog",
        about="traces a minute from a backlog",
        measure=simulated.measure_backlog,
    ),
    Benchmark(
        name="mixed",
        about="use of the budget with fresh runs and a backlog",
        measure=simulated.measure_mixed,
    ),
    Benchmark(
        name="delays",
        about="completed to counted, completed to acknowledged",
        measure=simulated.measure_delays,
    ),
    Benchmark(
        name="week",
        about="a simulated week of 200,000 runs, faults on",
        measure=week.measure_week,
    ),
    Benchmark(
        name="cpu",
        about="processor time a run, against plain scripts",
        measure=processes.measure_cpu,
    ),
    Benchmark(
        name="memory",
        about="memory, start and /metrics with a million runs",
        measure=processes.measure_memory,
    ),
    Benchmark(
        name="drain",
        about="pending traces to a local backend",
        measure=processes.measure_drain,
    ),
    Benchmark(
        name="pages",
        about="answers of the pages with a million runs",
        measure=pages.measure_pages,
    ),
    Benchmark(
        name="disk",
        about="ledger bytes a run",
        measure=disk.measure_disk,
    ),
)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="List the benchmarks and end.")
@click.option("--quick", is_flag=True, help="Smaller sizes: a look, not a measurement.")
def main(names: tuple[str, ...], *, only_list: bool, quick: bool) -> None:
    """Measure all benchmarks, or those that are NAMED; ends with 1 where a bound is missed."""
    known = {one.name: one for one in BENCHMARKS}
    if only_list:
        for one in BENCHMARKS:
            print(f"{one.name:<12}{one.about}")
        return
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}")
    # What the exporter says of the faults that are ordered here would bury the figures.
    logging.getLogger("exporter").addHandler(logging.NullHandler())
    logging.getLogger("exporter").propagate = False
    rows = list(_measured([known[name] for name in names or known], quick=quick))
    print(render(rows))
    sys.exit(any(figure.verdict == "MISSED" for _, figure in rows) and not quick)


def _measured(chosen: list[Benchmark], *, quick: bool) -> Iterator[tuple[Benchmark, Figure]]:
    for benchmark in chosen:
        print(f"{benchmark.name}: {benchmark.about} ...", file=sys.stderr, flush=True)
        for figure in benchmark.measure(quick):
            if figure.note:
                print(f"  {figure.what}: {figure.note}", file=sys.stderr, flush=True)
            yield benchmark, figure


if __name__ == "__main__":
    main()
