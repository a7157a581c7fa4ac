"""What was written down: the environment, and a file of NAME=VALUE lines beneath it.

It knows no setting, judges no value and expands nothing.
"""

import io
from collections.abc import Mapping
from pathlib import Path


def read_texts(
    environ: Mapping[str, str], env_file: Path | None
) -> tuple[dict[str, str], list[str]]:
    """All texts by name, the environment above the file; and what is wrong with the file.

    A pair of quotes around a text is none of it. An empty text counts as not given, and in the
    environment takes back what the file says.
    """
    texts, problems = read_env_file(env_file) if env_file is not None else ({}, [])
    texts.update(environ)
    stripped = {name: unquoted(text.strip()).strip() for name, text in texts.items()}
    return {name: text for name, text in stripped.items() if text}, problems


def unquoted(text: str) -> str:
    """The text without the pair of quotes around it, which container engines leave in place.

    Several quoted lines are no such pair; whoever reads them takes the quotes off each.
    """
    quote = text[:1]
    whole = quote in ("'", '"') and len(text) > 1 and text.endswith(quote)
    return text[1:-1] if whole and f"{quote}\n" not in text[1:-1] else text


def read_env_file(path: Path) -> tuple[dict[str, str], list[str]]:
    """The texts of a settings file, and what is wrong with it; no line of it is repeated."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        return {}, [f"{path}: is not UTF-8 text"]
    except OSError as exc:
        return {}, [f"{path}: cannot be read: {exc.strerror or type(exc).__name__}"]
    # Not at the top: the health check runs every few seconds, mostly without a file. python-dotenv
    # only logs a line that it cannot read; here, where it may be half a pattern, it is an error.
    from dotenv.parser import parse_stream  # noqa: PLC0415 - the reason stands above

    texts: dict[str, str] = {}
    problems: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        source = binding.original.string
        line = binding.original.line + source[: len(source) - len(source.lstrip())].count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            problems.append(f"{path}, line {line}: is not NAME=VALUE (are the quotes closed?)")
        elif binding.key is not None and binding.value is not None:
            texts[binding.key] = binding.value
    return texts, problems
