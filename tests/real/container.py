"""Builds and runs the image with buildah, without an engine, a registry or a service.

The base is Debian with Python 3.11, made once by debootstrap and kept in the cache folder. Needs
root: chroot isolation runs a container on the host's network, as a process of the test.
"""

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.real import parts
from tests.real.processes import Process

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python-is-python3", "python3", "python3-pip", "python3-venv")
# What pip and others in a build trust; a host behind an intercepting proxy has its own.
TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
ISOLATED = "--isolation=chroot"


class Builder:
    """buildah with a storage of its own: nothing of the host's storage is seen or changed."""

    def __init__(self) -> None:
        program = parts.require("buildah", hint=parts.DEBIAN)
        if os.geteuid() != 0:
            parts.unavailable("building images by chroot needs root")
        self._folder = parts.FOLDER / "containers"
        self._buildah: list[str | Path] = [
            program,
            *("--root", self._folder / "storage", "--runroot", self._folder / "run"),
        ]

    def base(self) -> str:
        """The name of the base image, which is made at the first call (minutes)."""
        recipe = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:8]
        image = f"localhost/conduit-exporter-base:{SUITE}-{recipe}"
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.run("inspect", "--type", "image", image, check=False).returncode != 0:
                self._make_base(image)
        return image

    @contextmanager
    def built(self, dockerfile: Path, context: Path, **build_args: str) -> Iterator["Image"]:
        """The image that a Dockerfile makes of a folder, and a container of it, for a while."""
        tag = "localhost/conduit-exporter:test"
        self.run(
            # The docker format keeps HEALTHCHECK, which the OCI format has no place for.
            *("build", ISOLATED, "--pull-never", "--format=docker", "--tag", tag),
            *([f"--volume={TRUST}:{TRUST}:ro"] if TRUST.exists() else []),
            *(f"--build-arg={name}={value}" for name, value in build_args.items()),
            *("--file", dockerfile, context),
            timeout_s=900.0,
        )
        with self.container(tag) as container:
            yield Image(self, tag, container)
        self.run("rmi", tag, check=False)

    @contextmanager
    def container(self, image: str) -> Iterator[str]:
        container = self.run("from", "--pull-never", image).stdout.strip()
        try:
            yield container
        finally:
            self.run("rm", container, check=False)

    def size(self, image: str) -> float:
        """The bytes of an image's files as the storage counts them."""
        number, unit = json.loads(self.run("images", "--json", image).stdout)[0]["size"].split()
        return float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit.upper()]

    def run(
        self, *arguments: str | Path, check: bool = True, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        return _run(*self._buildah, *arguments, check=check, timeout_s=timeout_s)

    def _make_base(self, image: str) -> None:
        debootstrap = parts.require("debootstrap", hint=parts.DEBIAN)
        with self.container("scratch") as container:
            root = self.run("mount", container).stdout.strip()
            include = f"--include={','.join(PACKAGES)}"
            _run(debootstrap, "--variant=minbase", include, SUITE, root, timeout_s=1800.0)
            _run("chroot", root, "apt-get", "clean", timeout_s=60.0)
            self.run("umount", container)
            self.run("commit", "--format=docker", "--quiet", container, image, timeout_s=600.0)


class Image:
    """An image and one container of it, in which commands run one after the other."""

    def __init__(self, builder: Builder, tag: str, container: str) -> None:
        self._builder = builder
        self._container = container
        self.tag = tag

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its configuration under Docker's names: User, Entrypoint, Healthcheck..."""
        inspected = json.loads(self._builder.run("inspect", "--type", "image", self.tag).stdout)
        return dict(inspected["Docker"]["config"])

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as the image's user, in its folder, on the host's network."""
        variables = [f"--env={name}={value}" for name, value in env.items()]
        return self._builder.run(
            "run", ISOLATED, *variables, self._container, "--", *command, check=False
        )

    @contextmanager
    def confined(
        self, env: Mapping[str, str], *, user: int, volume: tuple[Path, str], log: Path
    ) -> Iterator[Process]:
        """What the image runs, as any user id with group 0, on a root that nobody can write to.

        `volume` is a folder of the host and where it is mounted: nothing else is writable. The
        network is the host's; there is no /tmp, no /proc and no /dev.
        """
        variables = dict(entry.split("=", 1) for entry in self.config["Env"]) | dict(env)
        root = self._builder.run("mount", self._container).stdout.strip()
        folder, inside = volume
        mounts = (
            'mount --bind "$0" "$0" && mount --bind "$1" "$0$2"'
            ' && mount -o remount,ro,bind "$0" && shift 2 && exec "$@"'
        )
        argv = [
            *("unshare", "--mount", "sh", "-c", mounts, root, folder, inside),
            *("chroot", f"--userspec={user}:0", "--groups=0", root),
            *("/usr/bin/env", f"--chdir={inside}", "-i"),
            *(f"{name}={value}" for name, value in variables.items()),
            *(self.config["Entrypoint"] + self.config["Cmd"]),
        ]
        with Process(argv, log=log) as process:
            yield process


def _run(
    *argv: str | Path, check: bool = True, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace"
    )
    if check and result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
        raise AssertionError(f"{argv[0]} ended with {result.returncode}\n{tail}")
    return result
