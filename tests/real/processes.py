"""Starts real programs on free loopback ports, waits for conditions and ends what it started.

Never waits for a fixed time, never signals a process of someone else.
"""

import os
import random
import re
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import httpx

T = TypeVar("T")

POLL_S = 0.05
TAIL_LINES = 40
FOREIGN_PREFIXES = ("CONDUIT_", "EXPORTER_", "OTEL_")

# What is alive now; the logs of these are shown when a test fails.
running: list["Process"] = []


class NotInTime(AssertionError):
    """A condition did not hold before its deadline."""


class Process:
    """One running program with its log in a file; leaving the context ends it.

    It inherits the environment without the settings of the exporter and of OpenTelemetry,
    so that a developer's shell cannot change a test; `env` is added on top.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = log.stem
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=inherited_environment() | dict(env or {}),
                cwd=cwd,
                start_new_session=True,
            )
        running.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._popen.poll()

    def wait_http(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        ready: Callable[[httpx.Response], bool] = lambda response: response.status_code < 500,
    ) -> httpx.Response:
        """Poll the URL until its answer is a ready one; give up early if the process ends."""

        def answer() -> httpx.Response | None:
            if self.returncode is not None:
                raise NotInTime(f"{self.name} ended with {self.returncode}\n{self.tail()}")
            try:
                response = client.get(url)
            except httpx.TransportError:
                return None
            return response if ready(response) else None

        with loopback_client() as client:
            try:
                return eventually(answer, what=f"{self.name} ready at {url}", timeout_s=timeout_s)
            except NotInTime as error:
                error.add_note(f"log of {self.name}:\n{self.tail()}")
                raise

    def wait_log(self, pattern: str, *, timeout_s: float = 30.0) -> re.Match[str]:
        """Wait until the pattern is found in its log, where ^ and $ are the ends of a line."""

        def found() -> re.Match[str] | None:
            ended = self.returncode is not None
            match = re.search(pattern, self.log_text(), re.MULTILINE)
            if match is None and ended:
                raise NotInTime(f"{self.name} ended without {pattern!r}\n{self.tail()}")
            return match

        return eventually(found, what=f"{pattern} in the log of {self.name}", timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = 30.0) -> int:
        """Wait until it ends by itself; the exit code."""
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise NotInTime(f"{self.name} did not end\n{self.tail()}") from error
        self._forget()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, for instance SIGSTOP to make it hang; nothing if it has ended."""
        self._popen.send_signal(number)

    def stop(self, *, timeout_s: float = 10.0) -> int:
        """Ask it to end, kill it if it does not in time; the exit code. Repeats do nothing."""
        if self.returncode is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return self.kill()
        return self.wait()

    def kill(self) -> int:
        """End it and its children without warning; the exit code."""
        if self.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)  # its own session: the group has its pid
        return self.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = TAIL_LINES) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def _forget(self) -> None:
        if self in running:
            running.remove(self)


class Server(ABC):
    """A program on ports and a folder of its own, which stay the same over stop and start."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._process: Process | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    @abstractmethod
    def start(self) -> object:
        """Start and wait until it is at work."""

    def stop(self) -> int:
        """End it as its supervisor would; its exit code, 0 where it was never started."""
        return 0 if self._process is None else self._process.stop(timeout_s=15.0)

    def kill(self) -> None:
        """End it without warning, if it runs."""
        if self._process is not None:
            self._process.kill()


def eventually(read: Callable[[], T | None], *, what: str, timeout_s: float) -> T:
    """Call until the result is not None, and return it; NotInTime after the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = read()
        if result is not None:
            return result
        if time.monotonic() >= deadline:
            raise NotInTime(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)


def inherited_environment() -> dict[str, str]:
    """The environment of the tests without the settings of the exporter and of OpenTelemetry."""
    return {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_PREFIXES)}


def children_of(pid: int) -> list[int]:
    """Ids of the process's direct children, none where it has ended."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def loopback_client(base_url: str = "") -> httpx.Client:
    """A client that ignores proxies and keeps no idle connection, so it need not be closed."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=base_url, trust_env=False, timeout=5.0, limits=limits)


def free_port() -> int:
    """A loopback port that nothing listens on, below the range of outgoing connections.

    The kernel hands ports of that range to any client at any time; below it a port stays free
    until its server has started.
    """
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
