"""Print what changed between the recorded answers of Llama-3-8B and Llama-3.1-8B to 805 prompts (AlpacaEval)."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from llmmigrate.regression.changes import Claim, changes

DEFAULT_DATA = Path(__file__).parents[1].parent / "shared" / "data"
BEFORE, AFTER = "Meta-Llama-3-8B-Instruct", "Meta-Llama-3.1-8B-Instruct-Turbo"


def recorded(data: Path) -> list[dict[str, str]]:
    """Read the prompts with both models' answers."""
    with (data / "alpaca-eval-outputs" / "llama3-vs-llama31.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _line(claim: Claim) -> str:
    return f"  {claim.sentence}; p = {claim.p:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LLMMIGRATE_TEST_DATA", DEFAULT_DATA)))
    rows = recorded(parser.parse_args().data)
    began = time.perf_counter()
    found = changes([row[BEFORE] for row in rows], [row[AFTER] for row in rows])
    took = time.perf_counter() - began
    print(f"{found.pairs} pairs, {BEFORE} before, {AFTER} after\n\nchanged:")
    for claim in found.changed:
        print(_line(claim), f"(answers {', '.join(map(str, claim.examples))})")
    print("\nno change beyond chance:")
    for claim in found.unchanged:
        print(_line(claim), f"HELD: {claim.held}" if claim.held else "")
    print(f"\n{took:.1f} s")


if __name__ == "__main__":
    main()
