"""Serves the simulated Conduit alone: `python -m exporter.simulator --listen 127.0.0.1:9000`."""

import asyncio
import signal

import click

from exporter.clock import SystemClock
from exporter.settings.values import ListenAddress, parse_listen
from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.data import SimulatedData
from exporter.simulator.hotel import DEMO_TOKEN, hospitality
from exporter.simulator.server import serve


@click.command(help="A simulated Conduit: a hotel group whose agents are at work.")
@click.option("--listen", default="127.0.0.1:9000", show_default=True, help="Address and port.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same runs.")
@click.option(
    "--rate",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.001, max=1000),
    help="1 is a new run every four seconds.",
)
@click.option(
    "--history",
    "history_s",
    default=1800.0,
    show_default=True,
    type=click.FloatRange(min=0, max=30 * 24 * 3600),
    help="Seconds of runs that are there at the start.",
)
@click.option(
    "--requests-per-minute",
    default=120,
    show_default=True,
    type=click.IntRange(min=1),
    help="The rate limit of each workspace.",
)
def main(
    listen: str, *, seed: int, rate: float, history_s: float, requests_per_minute: int
) -> None:
    """Run until SIGINT or SIGTERM."""
    try:
        address = parse_listen(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    clock = SystemClock()
    scenario = hospitality(seed=seed, start_ns=clock.now_ns(), history_s=history_s, rate=rate)
    conduit = SimulatedConduit(
        SimulatedData(now_ns=clock.now_ns, scenario=scenario),
        requests_per_minute=requests_per_minute,
    )
    try:
        asyncio.run(_serve_until_told(conduit, address))
    except OSError as error:
        # Python adds the address to the system's words; it is said already.
        reason = (error.strerror or str(error)).partition(" (while ")[0]
        raise click.ClickException(f"cannot listen on {listen}: {reason}") from error


async def _serve_until_told(conduit: SimulatedConduit, address: ListenAddress) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    async with serve(conduit, host=address.host, port=address.port) as base_url:
        click.echo(f"Simulated Conduit at {base_url}, token {DEMO_TOKEN}")
        await told.wait()


if __name__ == "__main__":
    main()
