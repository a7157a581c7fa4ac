"""Reads an answer's body within bounds: so many bytes on the wire, so many once inflated.

httpx inflates without a limit, and one small chunk may become a thousand times its size, so the
stream is read raw and inflated here. It never looks at what the bytes say.
"""

import zlib
from contextlib import aclosing
from typing import Any, Final, cast

import httpx

from exporter.errors import SourceMalformed

# What is asked for with Accept-Encoding; anything else in an answer is refused.
ACCEPTED_ENCODING: Final = "gzip"

_GZIP_NAMES: Final = frozenset(("gzip", "x-gzip"))
_IDENTITY_NAMES: Final = frozenset(("", "identity"))
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


async def read_body(response: httpx.Response, *, max_bytes: int) -> bytes:
    """The whole body, inflated; the stream is left for the caller to close.

    Raises SourceMalformed where it is cut short, longer or shorter than announced, encoded in a
    way that was not asked for, or larger than `max_bytes` on the wire or inflated.
    """
    headers = response.headers
    encoding = headers.get("content-encoding", "").strip().lower()
    announced = _announced_length(headers)
    if announced is not None and announced > max_bytes:
        raise SourceMalformed(
            f"The answer announces {announced} bytes; at most {max_bytes} are read"
        )
    inflater: _Inflater | None
    if encoding in _IDENTITY_NAMES:
        inflater = None
    elif encoding in _GZIP_NAMES:
        inflater = _Inflater(max_bytes)
    else:
        raise SourceMalformed("The answer is in a content encoding that was not asked for")

    parts: list[bytes] = []
    received = 0
    # Transports give async generators; closing them here leaves none to the garbage collector.
    stream = cast("Any", response.stream).__aiter__()
    try:
        async with aclosing(stream):
            async for chunk in stream:
                received += len(chunk)
                if received > max_bytes:
                    raise SourceMalformed(f"The answer is larger than {max_bytes} bytes")
                parts.append(chunk if inflater is None else inflater.inflate(chunk))
    except httpx.RemoteProtocolError as exc:
        raise SourceMalformed("The answer was cut short") from exc
    if announced is not None and received != announced:
        raise SourceMalformed(f"The answer has {received} bytes but announced {announced}")
    if inflater is not None:
        inflater.finish()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _announced_length(headers: httpx.Headers) -> int | None:
    text = headers.get("content-length")
    if text is None or "transfer-encoding" in headers:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < len(str(1 << 64))):
        raise SourceMalformed("The answer's content length is not a number")
    return int(text)


class _Inflater:
    """One gzip member, inflated piece by piece up to a limit."""

    def __init__(self, max_bytes: int) -> None:
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)
        self._max_bytes = max_bytes
        self._left = max_bytes

    def inflate(self, chunk: bytes) -> bytes:
        # One byte more than allowed tells "full" from "too much".
        try:
            inflated = self._zlib.decompress(chunk, self._left + 1)
        except zlib.error as exc:
            raise SourceMalformed("The answer's gzip encoding is damaged") from exc
        self._left -= len(inflated)
        if self._left < 0:
            raise SourceMalformed(f"The answer inflates to more than {self._max_bytes} bytes")
        if self._zlib.unused_data:
            raise SourceMalformed("The answer goes on after the end of its gzip encoding")
        return inflated

    def finish(self) -> None:
        if not self._zlib.eof:
            raise SourceMalformed("The answer's gzip encoding was cut short")
