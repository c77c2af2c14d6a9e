"""Images and files in requests: where they stand, and how large an image is, by the first bytes of it.

A size is read from the header and nothing is decoded further; nothing is ever fetched, since an address in a captured
request is anybody's. LiteLLM's own reader (1.106.2) fetches, and takes 300 × 300 pixels for what it cannot read.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_BYTES = 1024 * 1024
"""Of an image so much is looked at: before the size in a JPEG there may be a preview and a colour profile."""

_DATA_URL = re.compile(r"data:[^,;]{0,100}(?:;[^,;]{0,100}){0,4};base64,", re.IGNORECASE)
_SPACE = re.compile(r"\s+")

# ITU-T T.81, table B.1: SOF0-SOF15 have the size, but for DHT, JPG and DAC between them; TEM, RSTn stand alone
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_ENDS = frozenset({0xD8, 0xD9, 0xDA})

Size = tuple[int, int]


def attachments(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Give the parts of messages that are no text: images, audio, files, in the order in which they stand."""
    for message in messages:
        for name in ("content", "images"):  # LiteLLM sends those that an assistant's message has beside its content
            value = message.get(name)
            parts = value if isinstance(value, list) else [value]
            yield from (part for part in parts if isinstance(part, Mapping) and part.get("type") != "text")


def without_attachments(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its text alone."""
    plain = {name: value for name, value in message.items() if name != "images"}
    content = message.get("content")
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        plain["content"] = [one for one in content if not isinstance(one, Mapping) or one.get("type") == "text"]
    return plain


def is_elsewhere(part: Mapping[str, Any]) -> bool:
    """Tell whether a part may name an address, so that whoever reads it must fetch it: whatever has a colon.

    LiteLLM looks for addresses anywhere in a text, also behind `data:`.
    """
    left: list[Any] = [part]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and ":" in value.removeprefix("data:"):
            return True
    return False


def size_of(url: str) -> Size:
    """Return width and height in pixels of the PNG, JPEG, GIF or WebP in a data URL; ValueError says what it is not.

    By its content, whatever type is declared. Sources: W3C, "PNG", 11.2.1; ITU-T T.81, B.2.2; CompuServe, "GIF89a", 18;
    RFC 9649 (WebP), 2.5 to 2.7.
    """
    head = _DATA_URL.match(url)
    if head is None:
        raise ValueError("an image by its address is not fetched, so that its size is not known")
    text = _SPACE.sub("", url[head.end() : head.end() + MOST_BYTES // 3 * 4])
    try:
        data = base64.b64decode(text[: len(text) // 4 * 4], validate=True)
        width, height = _size(data)
    except (ValueError, struct.error, IndexError) as error:
        raise ValueError("an image is no PNG, JPEG, GIF or WebP whose size can be read") from error
    return width, height


def _size(data: bytes) -> Size:
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        found = struct.unpack_from(">II", data, 16)
    elif data[:6] in (b"GIF87a", b"GIF89a"):
        found = struct.unpack_from("<HH", data, 6)
    elif data[:2] == b"\xff\xd8":
        found = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = _webp(data)
    else:
        raise ValueError("of another kind")
    width, height = found
    if not 0 < width < 2**31 or not 0 < height < 2**31:
        raise ValueError("no size of an image")
    return width, height


def _jpeg(data: bytes) -> Size:
    """Go from marker to marker up to the frame's, each of which says how long what follows it is."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker in _ENDS:
            raise ValueError("no frame before the picture")
        if marker not in _ALONE:
            (length,) = struct.unpack_from(">H", data, at)
            at += max(2, length)


def _webp(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return low[0] + (low[1] << 16) + 1, low[2] + (low[3] << 16) + 1
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no WebP that is known")
