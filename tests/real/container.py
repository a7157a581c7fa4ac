"""Builds and runs images with buildah, without an engine, a registry or a service.

The base is Debian with Python 3.11, made once by debootstrap and kept in the cache folder. Needs
root: chroot isolation runs a container on the host's network, as a process of the test.
"""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from tests.real import parts
from tests.real.processes import Process, children_of

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python-is-python3", "python3", "python3-pip", "python3-venv")
HINT = "`.ci/real-parts --debian` installs it"
# What pip and others in a build trust; a host behind an intercepting proxy has its own.
TRUST = Path("/etc/ssl/certs/ca-certificates.crt")


class Images:
    """Images in a storage of its own: nothing of the host's storage is seen or changed."""

    def __init__(self, folder: Path | None = None) -> None:
        self._buildah = parts.require("buildah", hint=HINT)
        if os.geteuid() != 0:
            parts.unavailable("building images by chroot needs root")
        self.folder = folder or parts.FOLDER / "containers"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._storage: list[str | Path] = []
        self._storage = self._usable("overlay") or self._usable("vfs") or []
        if not self._storage:
            parts.unavailable("buildah can mount neither overlay nor vfs storage here")

    def base(self) -> str:
        """The name of the base image, which is made at the first call (minutes)."""
        recipe = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:8]
        image = f"localhost/conduit-exporter-base:{SUITE}-{recipe}"
        with self._locked():
            if not self.exists(image):
                self._make_base(image)
        return image

    def exists(self, image: str) -> bool:
        found = self._run("inspect", "--type", "image", image, check=False)
        return found.returncode == 0

    def build(
        self,
        dockerfile: Path,
        context: Path,
        build_args: Mapping[str, str] | None = None,
        *,
        tag: str = "localhost/conduit-exporter:test",
        timeout_s: float = 900.0,
    ) -> str:
        """Build an image that replaces the tag's earlier one; the tag."""
        arguments = [f"--build-arg={name}={value}" for name, value in (build_args or {}).items()]
        previous = self._id(tag)
        # The docker format keeps HEALTHCHECK, which the OCI format has no place for.
        self._run(
            *("build", "--isolation=chroot", "--pull-never", "--format=docker"),
            *_trusting(),
            *arguments,
            *("--tag", tag, "--file", dockerfile, context),
            timeout_s=timeout_s,
        )
        if previous is not None and previous != self._id(tag):
            self._run("rmi", previous, check=False)
        return tag

    def config(self, image: str) -> Mapping[str, Any]:
        """The image's configuration under Docker's names: User, Entrypoint, Healthcheck..."""
        inspected = json.loads(self._run("inspect", "--type", "image", image).stdout)
        return dict(inspected["Docker"]["config"])

    def size(self, image: str) -> int:
        """The bytes of the image's files as the storage counts them."""
        listed = json.loads(self._run("images", "--json", image).stdout)
        return _bytes(listed[0]["size"])

    def remove(self, image: str) -> None:
        self._run("rmi", image, check=False)

    def run(
        self,
        image: str,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        entrypoint: Sequence[str] | None = None,
        volumes: Mapping[Path, str] | None = None,
        timeout_s: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end as `docker run` would: the image's entrypoint, user and folder.

        `volumes` maps folders or files of the host to paths in the container, writable.
        A failing command is the caller's to judge by `returncode`.
        """
        with self._container(image) as container:
            argv = self._argv(image, command, entrypoint)
            options = _options(env, volumes)
            return self._run(
                *("run", *options, container, "--", *argv), check=False, timeout_s=timeout_s
            )

    @contextmanager
    def started(
        self,
        image: str,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        log: Path,
        entrypoint: Sequence[str] | None = None,
        volumes: Mapping[Path, str] | None = None,
    ) -> Iterator["ContainerProcess"]:
        """Run in the background, listening on the host's loopback; ended with the context."""
        with self._container(image) as container:
            argv = self._argv(image, command, entrypoint)
            options = _options(env, volumes)
            with ContainerProcess(
                [*self._command("run"), *options, container, "--", *argv], log=log
            ) as process:
                process.container = container
                yield process

    @contextmanager
    def confined(
        self,
        image: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        user: int,
        volume: tuple[Path, str],
        log: Path,
    ) -> Iterator[Process]:
        """Run as any user id with group 0, on a root file system that nobody can write to.

        `volume` is a folder of the host and where it is mounted: nothing else is writable. The
        network is the host's; there is no /tmp, no /proc and no /dev.
        """
        variables = dict(entry.split("=", 1) for entry in self.config(image)["Env"])
        with self._container(image) as container:
            root = self._run("mount", container).stdout.strip()
            folder, inside = volume
            mounts = (
                'mount --bind "$0" "$0" && mount --bind "$1" "$0$2"'
                ' && mount -o remount,ro,bind "$0" && shift 2 && exec "$@"'
            )
            enter = [
                *("chroot", f"--userspec={user}:0", "--groups=0", root),
                *("/usr/bin/env", f"--chdir={inside}", "-i"),
                *(f"{name}={value}" for name, value in (variables | dict(env)).items()),
            ]
            argv = ["unshare", "--mount", "sh", "-c", mounts, root, str(folder), inside, *enter]
            with Process([*argv, *command], log=log) as process:
                yield process

    def run_in(
        self,
        process: "ContainerProcess",
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command beside a container's program, as `docker exec` and health checks do."""
        return self._run(
            *("run", *_options(env, None), process.container, "--", *command),
            check=False,
            timeout_s=timeout_s,
        )

    def _make_base(self, image: str) -> None:
        debootstrap = parts.require("debootstrap", hint=HINT)
        with self._container("scratch") as container:
            root = Path(self._run("mount", container).stdout.strip())
            include = f"--include={','.join(PACKAGES)}"
            _checked(
                [debootstrap, "--variant=minbase", include, SUITE, root],
                timeout_s=1800.0,
            )
            for leftover in (*root.glob("var/cache/apt/*.bin"), *_files(root, "*.deb")):
                leftover.unlink()
            for index in (root / "var/lib/apt/lists").glob("*_*"):
                index.unlink()
            self._run("umount", container)
            self._run("config", "--cmd", "python3", container)
            self._run("commit", "--format=docker", "--quiet", container, image, timeout_s=600.0)

    def _argv(
        self, image: str, command: Sequence[str], entrypoint: Sequence[str] | None
    ) -> list[str]:
        config = self.config(image)
        if entrypoint is None:
            entrypoint = config.get("Entrypoint") or ()
            command = command or config.get("Cmd") or ()
        return [*entrypoint, *command]

    @contextmanager
    def _container(self, image: str) -> Iterator[str]:
        container = self._run("from", "--pull-never", image).stdout.strip()
        try:
            yield container
        finally:
            self._run("rm", container, check=False)

    def _id(self, image: str) -> str | None:
        found = self._run(
            "inspect", "--type", "image", "--format", "{{.FromImageID}}", image, check=False
        )
        return found.stdout.strip() if found.returncode == 0 else None

    def _usable(self, driver: Literal["overlay", "vfs"]) -> list[str | Path] | None:
        """The storage options of a driver, if a container of it can be mounted."""
        folder = self.folder / driver
        options: list[str | Path] = ["--root", folder / "images", "--runroot", folder / "run"]
        self._storage = [*options, "--storage-driver", driver]
        made = self._run("from", "scratch", check=False)
        if made.returncode != 0:
            return None
        container = made.stdout.strip()
        mounted = self._run("mount", container, check=False)
        self._run("rm", container, check=False)
        return self._storage if mounted.returncode == 0 else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _command(self, *arguments: str | Path) -> list[str | Path]:
        return [self._buildah, *self._storage, *arguments]

    def _run(
        self, *arguments: str | Path, check: bool = True, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        return _checked(self._command(*arguments), check=check, timeout_s=timeout_s)


class ContainerProcess(Process):
    """A program in a container; signals reach the program itself, not buildah around it.

    buildah turns a SIGTERM into the program's immediate end, where an engine delivers it.
    """

    container = ""

    def signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                os.kill(self.inner_pid(), number)

    def inner_pid(self) -> int:
        """The host's id of the container's first process; buildah's own while it starts."""
        pid = self.pid
        while "buildah" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode():
            children = children_of(pid)
            if not children:
                break
            pid = children[0]
        return pid


def _options(env: Mapping[str, str] | None, volumes: Mapping[Path, str] | None) -> list[str]:
    return [
        "--isolation=chroot",
        *(f"--env={name}={value}" for name, value in (env or {}).items()),
        *(f"--volume={host.resolve()}:{inside}" for host, inside in (volumes or {}).items()),
    ]


def _trusting() -> list[str]:
    return [f"--volume={TRUST}:{TRUST}:ro"] if TRUST.exists() else []


def _files(root: Path, pattern: str) -> list[Path]:
    return list((root / "var/cache/apt/archives").glob(pattern))


def _bytes(size: str) -> int:
    number, unit = size.split()
    return round(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit.upper()])


def _checked(
    argv: Sequence[str | Path], *, check: bool = True, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace"
    )
    if check and result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
        raise AssertionError(f"{argv[0]} ended with {result.returncode}\n{tail}")
    return result
