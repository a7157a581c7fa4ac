"""SIGTERM, SIGHUP and Ctrl-C at every moment of a command: it ends in time, with 0, in silence."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

ROOT = Path(__file__).parent.parent
DEADLINE_S = 30.0

# Stands in for any import that takes its time, under the name of one of the first heavy ones.
SLOW_IMPORT = """
import sys

class SlowImport:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic_settings":
            print("importing", flush=True)
            sys.stdin.read()

sys.meta_path.insert(0, SlowImport())
sys.argv = ["conduit-exporter", "{command}"]
from exporter.cli import main
main()
"""
HUNG = """
import asyncio, threading
from exporter.cli import signals
signals._DEADLINE_S = 0.2

async def work(stop):
    hung = threading.Thread(target=threading.Event().wait)
    hung.start()
    print("working", flush=True)
    await stop.wait()
    print("told", flush=True)
    {then}

signals.SIGNALS.install(code_if_cut_off={code})
signals.SIGNALS.run(work)
print("worked", flush=True)
"""
ENDS_WELL = """
import asyncio, sys
from exporter.cli.signals import SIGNALS

async def work(stop):
    print("working", flush=True)
    await stop.wait()
    print("draining", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return 7

SIGNALS.install(code_if_cut_off=0)
code = SIGNALS.run(work)
print("ending", flush=True)
sys.stdin.readline()
sys.exit(code)
"""


@contextmanager
def started(script: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed where it outlives the test."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answer(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize(
    ("number", "command", "code"), [(SIGTERM, "run", 0), (SIGHUP, "run", 0), (SIGTERM, "once", 1)]
)
def test_a_signal_before_it_works_ends_it_at_once(number: Signals, command: str, code: int) -> None:
    """Handlers stand before the first heavy import; only a daemon has done what it was asked."""
    with started(SLOW_IMPORT.format(command=command)) as process:
        assert line_of(process) == "importing"
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (code, "", "")


@pytest.mark.parametrize(
    ("first", "second"), [(SIGTERM, SIGHUP), (SIGHUP, SIGTERM), (SIGINT, SIGTERM)]
)
def test_a_second_signal_changes_nothing(first: Signals, second: Signals) -> None:
    """Neither while it drains nor after its event loop is closed; its exit code stays its own."""
    with started(ENDS_WELL) as process:
        assert line_of(process) == "working"
        process.send_signal(first)
        assert line_of(process) == "draining"
        process.send_signal(second)
        answer(process)
        assert line_of(process) == "ending"
        process.send_signal(second)
        answer(process)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (7, "", "")


@pytest.mark.parametrize(
    ("then", "said", "code"),
    [
        ("return 0", "told\nworked\n", 0),
        ("await asyncio.Event().wait()", "told\n", 1),
        ("threading.Event().wait()", "told\n", 0),
    ],
    ids=["a thread of the daemon", "a task of a pass", "the loop of the daemon"],
)
def test_whatever_hangs_is_ended_with_the_process(then: str, said: str, code: int) -> None:
    """A lock that is never released; a pass that is cut off has not done what it was asked."""
    with started(HUNG.format(then=then, code=code)) as process:
        assert line_of(process) == "working"
        process.send_signal(SIGTERM)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (code, said, "")


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    """Under nohup the terminal may go."""
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    with started(ignoring + ENDS_WELL) as process:
        assert line_of(process) == "working"
        process.send_signal(SIGHUP)
        process.send_signal(SIGTERM)
        assert line_of(process) == "draining"
        answer(process)
        answer(process)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 7
