"""Run all parts, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

PARTS = ("decision", "requests", "shadow", "memory")


def main() -> int:
    commands = ([sys.executable, "-m", f"benchmarks.router.{part}"] for part in PARTS)
    return max(subprocess.run(command, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
