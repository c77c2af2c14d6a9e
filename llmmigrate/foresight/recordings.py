"""Two successive model versions as recordings: real answers where they are at hand, a small invented set otherwise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from llmmigrate.foresight.traffic import read_arrivals
from llmmigrate.models import RecordedAnswer

_OWN = Path(__file__).parent / "demo_data"
_CHARACTERS_PER_TOKEN = 4
_FIRST_TOKEN_S, _PER_TOKEN_S = 0.35, 0.012


@dataclass(frozen=True, slots=True)
class Material:
    """What a demonstration is played with; `described` says where it is from and what in it is not measured."""

    old_name: str
    new_name: str
    prompts: list[str]
    old: list[RecordedAnswer]
    new: list[RecordedAnswer]
    arrivals: list[float]
    described: list[str]


def material(data: Path | None) -> Material:
    """Load the answers and arrivals under `data`, each replaced by the project's own set where it is absent there.

    Token counts are characters / 4 and latencies follow from them: neither stands in the sources.
    """
    answers = data / "alpaca-eval-outputs" / "llama3-vs-llama31.jsonl" if data is not None else None
    trace = data / "azure-llm-trace" / "conv.csv" if data is not None else None
    real_answers, real_trace = answers is not None and answers.is_file(), trace is not None and trace.is_file()
    file = answers if answers is not None and real_answers else _OWN / "answers.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    old_key, new_key = [key for key in rows[0] if key not in ("id", "dataset", "instruction")]
    log = trace if trace is not None and real_trace else _OWN / "arrivals.csv"
    described = [
        f"{len(rows)} recorded answers of {old_key} and {new_key}"
        + (" (AlpacaEval)" if real_answers else " (invented for this demonstration)"),
        "arrivals of the Azure LLM inference trace, slowed down"
        if real_trace
        else "invented arrivals in the form of the Azure LLM inference trace",
        "tokens are counted as characters / 4; latencies are derived from them",
    ]
    return Material(
        old_name=f"recorded/{old_key.lower()}",
        new_name=f"recorded/{new_key.lower()}",
        prompts=[row["instruction"] for row in rows],
        old=[_recorded(row["instruction"], row[old_key]) for row in rows],
        new=[_recorded(row["instruction"], row[new_key]) for row in rows],
        arrivals=read_arrivals(log),
        described=described,
    )


def _recorded(prompt: str, answer: str) -> RecordedAnswer:
    tokens = -(-len(answer) // _CHARACTERS_PER_TOKEN)
    return RecordedAnswer(
        prompt=prompt,
        answer=answer,
        latency_s=_FIRST_TOKEN_S + _PER_TOKEN_S * tokens,
        prompt_tokens=-(-len(prompt) // _CHARACTERS_PER_TOKEN),
        completion_tokens=tokens,
    )
