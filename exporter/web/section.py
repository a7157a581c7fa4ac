"""A YAML document read key by key, every problem of it collected.

Never repeats a value of the document in a message: it may be a secret.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import yaml

from exporter.errors import ConfigError

_KIND_NAMES: Final = {str: "string", bool: "boolean", int: "whole number", list: "list"}
# What the parser quotes of the file (an alias, a tag), but not its names of tokens, `'<...>'`.
_QUOTED: Final = re.compile(r"""(["'])(?!<[a-z ]+>\1).*\1""", re.DOTALL)


class Section:
    """A mapping of the file whose keys are taken one by one; what is left over is a problem."""

    def __init__(self, name: str, value: Any, problems: list[str]) -> None:
        self._name = name
        self._problems = problems
        self._taken: list[str] = []
        self._left: dict[Any, Any] = {}
        if isinstance(value, dict):
            self._left = dict(value)
        elif value is not None:
            self._problems.append(f"{name or 'the file'}: must be a mapping")
        self.given = bool(self._left)

    def complain(self, key: str, problem: str) -> None:
        self._problems.append(f"{self._name}.{key}: {problem}" if self._name else problem)

    def section(self, key: str) -> "Section":
        self._taken.append(key)
        name = f"{self._name}.{key}" if self._name else key
        return Section(name, self._left.pop(key, None), self._problems)

    def take(self, key: str, kind: type | tuple[type, ...], *, default: Any = None) -> Any:
        """The value of a key, `default` where it is absent, null or wrong."""
        self._taken.append(key)
        value = self._left.pop(key, None)
        if value is None:
            return default
        # To Python a bool is an int as well.
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            self.complain(key, f"must be a {' or a '.join(_KIND_NAMES[one] for one in kinds)}")
            return default
        return value

    def take_one_of(self, key: str, allowed: tuple[str, ...], *, default: str) -> str:
        value: str = self.take(key, str, default=default)
        if value in allowed:
            return value
        self.complain(key, f"must be one of {', '.join(allowed)}")
        return default

    def take_names(self, key: str, allowed: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """A list of strings."""
        names = self.take(key, list, default=[])
        if not all(isinstance(name, str) for name in names):
            self.complain(key, "must be a list of strings")
            return ()
        unknown = [name for name in names if allowed is not None and name not in allowed]
        if unknown:
            self.complain(key, f"knows {', '.join(allowed or ())}, not {', '.join(unknown)}")
            return ()
        return tuple(names)

    def take_rest(self) -> dict[Any, Any]:
        """All that is left."""
        rest, self._left = self._left, {}
        return rest

    def finish(self) -> None:
        """Complain of every key that nobody took."""
        for key in self.take_rest():
            near = get_close_matches(str(key), self._taken, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            name = f"{self._name}.{key}" if self._name else key
            self._problems.append(f"{name}: unknown key{meant}")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe subset, in which a key that stands twice is an error, not the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the library's signature
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The document; raises ConfigError, which says where but never what."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        # The error's own text quotes the file, where a password may begin like an alias.
        problem = _QUOTED.sub("...", error.problem or "")
        mark = error.problem_mark
        line = "" if mark is None else f"line {mark.line + 1}: "
        raise ConfigError([f"{line}not YAML: {problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"not YAML: {type(error).__name__}"]) from None
