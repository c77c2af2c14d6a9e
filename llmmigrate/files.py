"""Files that are replaced as a whole: whoever reads one finds the old content or the new."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MODE = 0o644


def replace_file(file: Path, content: bytes) -> None:
    """Write a file through a synced one beside it, keeping its mode; raises OSError, then the old file stands."""
    mode = file.stat().st_mode & 0o777 if file.exists() else _MODE
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".new")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        beside.chmod(mode)
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
