"""Which source revision this is: the image's build writes it beside the package."""

from functools import lru_cache
from pathlib import Path

import exporter


@lru_cache(maxsize=1)
def revision() -> str:
    """The revision that the build wrote, `unknown` where there was no such build."""
    try:
        text = (Path(exporter.__file__).parent / "REVISION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "unknown"
    return text or "unknown"
