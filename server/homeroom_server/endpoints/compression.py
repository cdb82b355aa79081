"""Bodies that come compressed: inflated up to a size and never beyond it, however small they were."""

import zlib
from collections.abc import Callable, Sequence

import zstandard

from homeroom.errors import Code, HomeroomError, error

_WINDOW_BYTES_MAX = 8 * 1024 * 1024
"""What every zstd decoder of HTTP has to take, and the most that one may ask of us (RFC 9659)."""

Inflate = Callable[[bytes, int], bytes | None]
"""What is in a body; None if that is more than so many bytes. Raises FixRequest 3002 if it is broken or cut off."""


def inflating(content_encodings: Sequence[bytes]) -> Inflate | None:
    """How to inflate a body, given the values of its Content-Encoding; None if it is not compressed.

    Raises FixRequest 3002 for encodings that are not known here, and for several.
    """
    encoding = b",".join(content_encodings).strip().lower().decode("latin-1")
    if encoding in ("", "identity"):
        return None
    if encoding not in _INFLATE:
        raise error(Code.NOT_STRUCTURED, "Content-Encoding takes gzip or zstd, one of them, or is left out")
    return _INFLATE[encoding]


def _gzip(body: bytes, bytes_max: int) -> bytes | None:
    stream = zlib.decompressobj(wbits=31)
    try:
        inflated = stream.decompress(body, bytes_max + 1)
    except zlib.error as fault:
        raise _broken("gzip") from fault
    if len(inflated) > bytes_max:
        return None
    if not stream.eof or stream.unused_data:
        raise _broken("gzip")
    return inflated


def _zstd(body: bytes, bytes_max: int) -> bytes | None:
    stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
    try:
        announced = zstandard.frame_content_size(body)
        if announced > bytes_max:
            return None
        inflated = stream.decompress(body, max_output_size=bytes_max + 1, allow_extra_data=False)
    except zstandard.ZstdError as fault:
        if _fills(stream, body, bytes_max):
            return None
        raise _broken("zstd") from fault
    if announced < 0 and _goes_on(stream, body):  # nobody has looked yet whether anything follows
        raise _broken("zstd")
    return inflated if len(inflated) <= bytes_max else None


def _goes_on(stream: zstandard.ZstdDecompressor, body: bytes) -> bool:
    """Whether anything follows a frame that is known to be small enough."""
    frame = stream.decompressobj()
    frame.decompress(body)
    return bool(frame.unused_data)


def _fills(stream: zstandard.ZstdDecompressor, body: bytes, bytes_max: int) -> bool:
    """Whether there is more in it than so many bytes, which does not show from how inflating it all failed."""
    left = bytes_max + 1
    with stream.stream_reader(body) as reader:
        try:
            while left > 0 and (some := reader.read(min(left, 65_536))):
                left -= len(some)
        except zstandard.ZstdError:
            return False
    return left <= 0


def _broken(encoding: str) -> HomeroomError:
    return error(Code.NOT_STRUCTURED, f"the body is not one whole {encoding} stream")


_INFLATE: dict[str, Inflate] = {"gzip": _gzip, "zstd": _zstd}
