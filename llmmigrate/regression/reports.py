"""A run of a suite for people and for CI: a page with both models' answers side by side, and JUnit XML.

Answers are untrusted: the page escapes all of them, and allows no script.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined

from llmmigrate.annotations import Case as Reported
from llmmigrate.annotations import junit as junit_report
from llmmigrate.regression.asking import RoundAnswer
from llmmigrate.regression.equivalence import RULES
from llmmigrate.regression.excerpts import excerpt
from llmmigrate.regression.observed import TypeRefusals
from llmmigrate.regression.path_changes import path_changes
from llmmigrate.regression.results import RUNS, CaseResult, RunName, SuiteResult
from llmmigrate.visible import visible

_ORDER = ("fail", "worse", "hold", "pass")
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_LONGEST = 20_000
"""Characters of an answer that are compared; a page is for reading."""

Marked = list[tuple[bool, str]]
"""Pieces of a text, and whether each is only on this side."""


def page(result: SuiteResult, template: str, *, title: str, control: str, target: str) -> str:
    """Return one HTML page of a run, from a Jinja2 template."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    flipped, worse = flips_of(result), worse_in(result)
    cases = [_shown(one, flipped.get(one.case.id, []), worse.get(one.case.id, [])) for one in result.cases]
    cases.sort(key=lambda case: (_ORDER.index(case["verdict"]), -len(case["flips"]), -len(case["worse"])))
    spent = result.spent
    cost = f"${spent.cost:,.2f}" + (f" and {spent.unpriced:,} without a price" if spent.unpriced else "")
    return environment.from_string(template).render(
        title=title,
        verdict=result.verdict,
        reason=result.reason,
        control=control,
        target=target,
        repetitions=result.repetitions,
        facts=f"{spent.calls:,} calls, {spent.kept:,} kept answers, {cost}",
        invariants=result.verdicts,
        undecided=result.undecided,
        margin=RULES.margin,
        waived=result.waived,
        observed=result.observed,
        refusals=[_refusals(one) for one in result.observed.refusals],
        cases=cases,
    )


def _refusals(one: TypeRefusals) -> dict[str, Any]:
    """Return the rates of both models on one input type, in percent, for a table and for a drawing."""
    arms = [
        {
            "name": name,
            "rate": 100 * rate.rate if rate.rate is not None else None,
            "low": 100 * rate.interval[0],
            "high": 100 * rate.interval[1],
            "answers": rate.decided + rate.uncertain,
            "uncertain": rate.uncertain,
        }
        for name, rate in (("control", one.change.before), ("target", one.change.after))
    ]
    return {"type": one.input_type, "arms": arms, "held": one.change.held}


def junit(result: SuiteResult) -> str:
    """Return JUnit XML: a case has failed where it flips in an invariant that fails, or a known failure returned.

    A case with nothing that could be decided was skipped, and a suite that holds is an error: neither is a pass.
    """
    failed = {one.invariant for one in result.verdicts if one.verdict == "fail"}
    flipped, worse = flips_of(result), worse_in(result)
    reported = []
    for one in result.cases:
        names = flipped.get(one.case.id, [])
        lost = [f"flips in {name}" for name in names if name in failed]
        failures = [*lost, *failures_of(one, "target")] if lost else []
        output = [f"flips in {name}, within what control does to itself" for name in names if name not in failed]
        output += [f"fails more often than on control: {name}" for name in worse.get(one.case.id, [])]
        reported.append(Reported(one.case.id, failures=failures, output=output, skipped=_open(one)))
    whole = [f"{one.invariant}: {one.reason}" for one in result.verdicts if one.verdict == "fail"]
    held = [f"{one.invariant}: {one.reason}" for one in result.verdicts if one.verdict == "hold"]
    error = f"hold: {result.reason}" if result.verdict == "hold" else None
    reported.append(Reported("the suite", failures=whole, output=[result.reason, *held], error=error))
    return junit_report(f"llmmigrate test {result.suite}", reported)


def _open(result: CaseResult) -> str | None:
    """Say why nothing of a case could be decided on the target, None where something was."""
    outcomes = [one for found in result.outcomes.get("target", []) for _, one in found]
    if any(one is not None and one.verdict != "hold" for one in outcomes):
        return None
    told = next((one.sentence for one in outcomes if one is not None), None)
    if told is not None:
        return told
    errors = [one for found in result.answers["target"] for one in found or () if one.error is not None]
    if errors:
        return f"no answer: {errors[0].error}: {excerpt(errors[0].detail)}"
    return "not asked" if not any(result.answers["target"]) else "asserts nothing"


def worse_in(result: SuiteResult) -> dict[str, list[str]]:
    """Return the invariants in which each case fails more often than on control, without a flip."""
    found: dict[str, list[str]] = {}
    for one in result.verdicts:
        for shift in one.worse:
            found.setdefault(shift.case, []).append(one.invariant)
    return found


def flips_of(result: SuiteResult) -> dict[str, list[str]]:
    """Return the invariants that each case flips in: it passed on control, and fails on the target."""
    found: dict[str, list[str]] = {}
    for one in result.verdicts:
        for flip in one.flips:
            found.setdefault(flip.case, []).append(one.invariant)
    for case in result.cases:
        if case.case.kind == "failure" and failures_of(case, "target") and case.case.id not in found:
            names = [one.invariant for one in result.verdicts if one.invariant.startswith("failure:")]
            found[case.case.id] = names
    return found


def failures_of(result: CaseResult, run: RunName) -> list[str]:
    """Return in sentences what failed in a run, each once."""
    found = [
        f"{where}: {judged.sentence}"
        for outcomes in result.outcomes.get(run, [])
        for where, judged in outcomes
        if judged is not None and judged.verdict == "fail"
    ]
    return list(dict.fromkeys(found))


def _shown(result: CaseResult, flips: list[str], worse: list[str]) -> dict[str, Any]:
    counts = {run: _passes(result, run) for run in RUNS}
    old, new = _answer(result, "control"), _answer(result, "target", failing=True)
    marked_old, marked_new = marked(old, new)
    case, open_ = result.case, _open(result)
    first = next((str(m.get("content")) for one in case.rounds for m in one.messages if m.get("role") == "user"), "")
    return {
        "id": case.id,
        "kind": case.kind,
        "line": case.place[0],
        "asked": excerpt(first, 300),
        "flips": flips,
        "worse": worse,
        "open": open_,
        "verdict": "fail" if flips else "worse" if worse else "hold" if open_ is not None else "pass",
        "words": f"control {counts['control']}, again {counts['again']}, target {counts['target']}",
        "failures": failures_of(result, "target")[:5],
        "paths": path_changes(_last(result, "control"), _last(result, "target", failing=True)),
        "old": marked_old,
        "new": marked_new,
    }


def _passes(result: CaseResult, run: RunName) -> str:
    told = [outcomes for outcomes in result.outcomes.get(run, []) if outcomes]
    good = sum(all(one is not None and one.verdict == "pass" for _, one in outcomes) for outcomes in told)
    return f"passes {good} of {len(result.answers[run])}" if told else "asserts nothing"


def _chosen(result: CaseResult, run: RunName, *, failing: bool) -> Sequence[RoundAnswer]:
    """Return the answers of the first repetition; with `failing`, of the first that failed, where one did."""
    answers = result.answers[run]
    chosen = 0
    if failing:
        bad = (
            number
            for number, outcomes in enumerate(result.outcomes.get(run, []))
            if any(one is not None and one.verdict == "fail" for _, one in outcomes)
        )
        chosen = next(bad, 0)
    return (answers[chosen] if chosen < len(answers) else None) or ()


def _last(result: CaseResult, run: RunName, *, failing: bool = False) -> str:
    """Return the text of the last answer of a conversation."""
    given = next((one.given for one in reversed(_chosen(result, run, failing=failing))), None)
    return given.text if given is not None else ""


def _answer(result: CaseResult, run: RunName, *, failing: bool = False) -> str:
    """Return the answers of a conversation as one text, with the tools that they call."""
    found = _chosen(result, run, failing=failing)
    if not found:
        return "(not asked)"
    texts = []
    for one in found:
        if one.given is None:
            texts.append(f"({one.error}: {one.detail})")
            continue
        texts += [_indented(one.given.text)] if one.given.text else []
        texts += [f"{call.name}({_indented(call.arguments)})" for call in one.given.tool_calls]
    return visible("\n\n".join(texts)[:_LONGEST]) or "(empty)"


def _indented(text: str) -> str:
    """Return JSON over several lines, so that what differs stands apart; any other text as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def marked(old: str, new: str) -> tuple[Marked, Marked]:
    """Mark the words of two texts that only one of them has."""
    first, second = _WORDS.findall(old), _WORDS.findall(new)
    left: Marked = []
    right: Marked = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        _add(left, first[a:b], alone=kind != "equal")
        _add(right, second[c:d], alone=kind != "equal")
    return left, right


def _add(pieces: Marked, words: Sequence[str], *, alone: bool) -> None:
    if words:
        pieces.append((alone, "".join(words)))
