"""The tables of attributes in docs/SPANS.md; `python -m exporter.convert.reference` writes them.

Never describes an attribute in words of its own.
"""

import sys
from typing import Final

from exporter.convert.attributes import ATTRIBUTES, Attribute

_HEAD: Final = """\
| attribute | type | span | when | source | example |
| --- | --- | --- | --- | --- | --- |
"""


def attributes_to_markdown() -> str:
    """Both tables, as they stand in the page."""
    return f"""\
### Always

{_table(content=False)}
### With content

Only where `EXPORTER_CAPTURE_CONTENT=true`, see [Content](#content).

{_table(content=True)}"""


def _table(*, content: bool) -> str:
    return _HEAD + "".join(_row(one) for one in ATTRIBUTES if one.content is content)


def _row(one: Attribute) -> str:
    span = "run, tool" if one.span == "both" else one.span
    return (
        f"| `{one.name}` | {one.kind} | {span} | {one.when} | {_source(one.name)} "
        f"| `{one.example}` |\n"
    )


def _source(name: str) -> str:
    match name.partition(".")[0]:
        case "gen_ai":
            return "GenAI"
        case "conduit":
            return "ours"
        case _:
            return "OpenTelemetry"


if __name__ == "__main__":
    sys.stdout.write(attributes_to_markdown())
