"""The files that a suite names: prompts, texts, schemas, images; all inside the project, none large."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path, PurePosixPath

MAX_FILE_BYTES = 5_000_000
"""No file that a suite names is larger: the smallest limit of the large providers on an image (Anthropic)."""

_IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}

_SIGNS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}

FileReader = Callable[[str], bytes]
"""From a path as a suite writes it to the content; raises ValueError, with words for people, where there is none."""


class ProjectFiles:
    """Reads the files below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, path: str) -> bytes:
        file = self._root / path
        try:
            if not file.resolve().is_relative_to(self._root.resolve()):
                raise ValueError(f"{path} leads out of the project")
            if file.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes")
            return file.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def no_files(path: str) -> bytes:
    """Read no file: for a suite that is looked at apart from its project."""
    raise ValueError(f"{path} cannot be read without its project")


def data_url(content: bytes, path: str) -> str:
    """Return an image as a data URL; raises ValueError where it is of no kind that models take, by name and content."""
    kind = _IMAGES.get(PurePosixPath(path).suffix.lower())
    if kind is None:
        raise ValueError(f"{path} is no image that models take: {', '.join(_IMAGES)}")
    if not any(content.startswith(sign) for sign in _SIGNS[kind]) or (
        kind == "image/webp" and content[8:12] != b"WEBP"
    ):
        raise ValueError(f"{path} does not hold what its name says: it is no {kind}")
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
