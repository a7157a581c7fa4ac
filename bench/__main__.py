"""`python -m bench`: measures everything, or what is named, and prints the table."""

import logging
import sys
from typing import Final

import click

from bench import real, simulated
from bench.table import Benchmark, render

BENCHMARKS: Final = (
    Benchmark("requests", "requests a traced run (simulated)", simulated.measure_requests),
    Benchmark("backlog", "traces a minute from a backlog (simulated)", simulated.measure_backlog),
    Benchmark("delays", "how soon runs are counted (simulated)", simulated.measure_delays),
    Benchmark("run", "processor time and disk of a run", real.measure_run),
    Benchmark("limit", "one workspace at its limit: memory, core, pages", real.measure_limit),
    Benchmark("many", "many workspaces at their limit: core", real.measure_many),
    Benchmark("idle", "1,000 idle agents: memory, core, /metrics", real.measure_idle),
    Benchmark("packages", "packages installed at run time", real.measure_packages),
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([one.name for one in BENCHMARKS]))
@click.option("--list", "only_list", is_flag=True, help="List the benchmarks and end.")
def main(names: tuple[str, ...], *, only_list: bool) -> None:
    """Measure all benchmarks, or those that are NAMED; ends with 1 where a bound is missed."""
    if only_list:
        for one in BENCHMARKS:
            print(f"{one.name:<10}{one.about}")
        return
    # What the simulated exporters say would bury the figures.
    logging.disable(logging.CRITICAL)
    # Processor time hangs on how the interpreter was built.
    print(f"{sys.executable}: Python {sys.version}", file=sys.stderr)
    rows = []
    for benchmark in BENCHMARKS:
        if names and benchmark.name not in names:
            continue
        print(f"{benchmark.name}: {benchmark.about} ...", file=sys.stderr, flush=True)
        for figure in benchmark.measure():
            rows.append((benchmark.name, figure))
            print(f"  {figure.what}: {figure.measured:.3f}", file=sys.stderr, flush=True)
    print(render(rows))
    sys.exit(any(figure.missed for _, figure in rows))


if __name__ == "__main__":
    main()
