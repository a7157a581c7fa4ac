"""Where settings are written: the environment, and a file of KEY=VALUE lines beneath it.

Reads texts and remembers where each came from; it knows no setting and judges no value.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A text that somebody gave a name; `line` is 0 where it came from the environment."""

    name: str
    text: str
    file: Path | None = None
    line: int = 0

    @property
    def label(self) -> str:
        """The name as typed, and where, if it stands in a file."""
        return self.name if self.file is None else f"{self.name} ({self.file}, line {self.line})"


def read_given(
    environ: Mapping[str, str], env_file: Path | None
) -> tuple[dict[str, Given], list[str]]:
    """All that was given, by name, the environment above the file; and what is wrong in the file.

    An empty text counts as not given, and in the environment takes back what the file says.
    """
    given, problems = read_env_file(env_file) if env_file is not None else ({}, [])
    for name, text in environ.items():
        given[name] = Given(name, text.strip())
    return {name: one for name, one in given.items() if one.text}, problems


def read_env_file(path: Path) -> tuple[dict[str, Given], list[str]]:
    """The lines of a settings file: KEY=VALUE, quotes, comments, `export`; nothing is expanded."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            return {}, [f"{path}: is larger than 1 MiB; a settings file is a few lines"]
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        return {}, [f"{path}, line {line}: is not UTF-8 text"]
    except OSError as exc:
        return {}, [f"{path}: cannot be read: {exc.strerror or type(exc).__name__}"]
    # Not at the top: the health check runs every few seconds, mostly without a file.
    from dotenv.parser import parse_stream  # noqa: PLC0415 - the reason stands above

    given: dict[str, Given] = {}
    problems: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        source = binding.original.string
        blank = source[: len(source) - len(source.lstrip())]
        line = binding.original.line + blank.count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            # The line itself is not quoted: it may be half a secret.
            problems.append(f"{path}, line {line}: is not KEY=VALUE (are the quotes closed?)")
        elif binding.key is not None and binding.value is not None:
            if binding.key in given:
                problems.append(
                    f"{binding.key} ({path}, line {line}): "
                    f"is set twice, first in line {given[binding.key].line}; keep one"
                )
            given[binding.key] = Given(binding.key, binding.value.strip(), path, line)
    return given, problems
