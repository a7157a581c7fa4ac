"""Every setting as a row of text: for the example file and the documentation.

The rows come from the model alone, so none can be forgotten or described twice.
`python -m exporter.settings.reference` writes the tables of README, and with `example` behind it
the text of config.example.env.
"""

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from exporter.settings.field import Group
from exporter.settings.model import Settings
from exporter.settings.otlp import TRACES_PREFIX

_WIDTH: Final = 96

_FOR_TRACES: Final = (
    "# The same for traces alone, each above the general one; this endpoint is used as it is."
)
_TABLE_HEAD: Final = "| setting | default | what it does |\n| --- | --- | --- |\n"
_EXAMPLE_HEAD: Final = """\
# Settings of conduit-exporter. Copy this file to config.env, put your token in, then:
#
#   conduit-exporter --env-file config.env check
#   conduit-exporter --env-file config.env run
#
# Lines are NAME=VALUE. What stands behind a # is the default, or an example where there is none.
# Variables of the environment go before this file. Durations: 500ms, 15s, 5m, 24h, 7d.
# Sizes: 500MB, 1GiB. A value with spaces, # or \\ goes inside single quotes.
"""


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """A setting as the documentation shows it.

    `default` is the value, or words for what happens without one; `example` is a text that can be
    pasted behind the name: the default where there is one.
    """

    name: str
    default: str
    description: str
    group: str
    example: str


def reference() -> list[SettingDoc]:
    """Every setting, grouped, in the order of the groups."""
    order = [group.value for group in Group]
    return sorted(_rows(), key=lambda row: order.index(row.group))


def example_env() -> str:
    """The text of config.example.env."""
    parts = [_EXAMPLE_HEAD]
    before = ""
    for row in reference():
        if row.group != before:
            parts.append(f"\n# --- {row.group} ---\n")
            before = row.group
        if not row.name.startswith(TRACES_PREFIX):
            parts.append(f"\n{_comment(row)}\n")
        elif not parts[-1].startswith(f"#{TRACES_PREFIX}"):
            parts.append(f"\n{_FOR_TRACES}\n")
        # The one line that nobody can do without.
        required = row.name == "CONDUIT_API_TOKEN"
        parts.append(f"{row.name}=\n" if required else f"#{row.name}={row.example}\n")
    return "".join(parts)


def settings_to_markdown() -> str:
    """The tables of settings in README, one for each group."""
    tables = []
    for group, rows in groupby(reference(), key=lambda row: row.group):
        lines = [f"| `{row.name}` | {_code(row)} | {row.description} |\n" for row in rows]
        tables.append(f"**{group}**\n\n{_TABLE_HEAD}{''.join(lines)}")
    return "\n".join(tables)


def _code(row: SettingDoc) -> str:
    """The default, as code where it is a value and not words about one."""
    return f"`{row.default}`" if row.default and row.default == row.example else row.default


def _comment(row: SettingDoc) -> str:
    words = row.description
    if row.default and row.default != row.example:
        words += f". Default: {row.default}"
    return textwrap.fill(
        f"{words}.",
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rows() -> Iterator[SettingDoc]:
    for field in Settings.model_fields.values():
        extra = field.json_schema_extra
        if not isinstance(extra, dict):
            raise TypeError(f"{field.validation_alias} is not declared with `setting`")
        default = field.default if isinstance(field.default, str) else ""
        yield SettingDoc(
            name=str(field.validation_alias),
            default=default or str(extra["otherwise"]),
            description=field.description or "",
            group=str(extra["group"]),
            example=default or str(extra["example"]),
        )


if __name__ == "__main__":
    sys.stdout.write(example_env() if sys.argv[1:] == ["example"] else settings_to_markdown())
