"""Content coding of an answer: whether the client takes gzip, and a gzip that lets others run."""

import re
import zlib
from typing import Final

from exporter.clock import Clock

# Below this a packet is saved at best.
WORTHWHILE_BYTES: Final = 1400
_PIECE_BYTES: Final = 64 * 1024
_LEVEL: Final = 4
_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
_QUALITY: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header asks for gzip, by its name or by `*`."""
    qualities: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        given = dict(one.split("=", 1) for one in parameters if "=" in one)
        quality = given.get("q", "1")
        qualities[name] = float(quality) if _QUALITY.match(quality) else 0.0
    for name in ("gzip", "x-gzip", "*"):
        if name in qualities:
            return qualities[name] > 0
    return False


async def compressed(body: bytes, *, clock: Clock) -> bytes:
    """The body as gzip; lets other tasks run between pieces."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    view = memoryview(body)
    parts = []
    for start in range(0, len(view), _PIECE_BYTES):
        parts.append(deflater.compress(view[start : start + _PIECE_BYTES]))
        await clock.sleep(0)
    parts.append(deflater.flush())
    return b"".join(parts)
