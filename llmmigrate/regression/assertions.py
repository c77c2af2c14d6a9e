"""Hold assertions against an answer: pass, fail, or hold where one cannot be evaluated.

Nothing passes for want of evidence: an empty answer does not show what an answer leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmmigrate.patterns import Undecided, one_limit
from llmmigrate.regression import assertion_model as written
from llmmigrate.regression.assertion_model import Assertion, kind_of
from llmmigrate.regression.checks import CHECKS, Check, Checked, not_empty
from llmmigrate.regression.excerpts import excerpt
from llmmigrate.regression.given import NO_HOOKS, Given, Hooks, Outcome, Scene, Tools
from llmmigrate.verdict import Answer as Verdict

__all__ = ["Given", "Hooks", "Outcome", "combined", "evaluate"]


def evaluate(assertion: Assertion, given: Given, *, tools: Tools = (), hooks: Hooks = NO_HOOKS) -> Outcome:
    """Hold one assertion against an answer; `tools` are those that the request offered, OpenAI-shaped.

    Calls the hooks, and a function of the project where that is allowed; raises nothing.
    """
    with one_limit():
        return _outcome(assertion, Scene(given, tools, hooks))


def combined(outcomes: Sequence[Outcome]) -> Verdict:
    """Return the verdict on all of several assertions: hold where there are none."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return "fail" if "fail" in verdicts else "pass" if verdicts == {"pass"} else "hold"


def _outcome(assertion: Assertion, at: Scene) -> Outcome:
    kind = kind_of(assertion) or type(assertion).__name__
    check: Check = _COMBINING.get(kind) or CHECKS[kind]
    try:
        verdict, sentence = check(assertion, at)
    except Undecided as undecided:
        verdict, sentence = "hold", f"cannot be evaluated: {undecided}"
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever fails, here or in a hook, nothing was shown)
        verdict, sentence = "hold", f"cannot be evaluated: {type(error).__name__}: {excerpt(str(error))}"
    return Outcome(verdict, kind, sentence, assertion.label)


_CONTENT = {
    "equals", "contains", "icontains", "contains_any", "contains_all", "icontains_any", "icontains_all", "starts_with",
    "ends_with", "regex", "json", "json_schema", "json_path", "tool_call", "tool_calls", "tools_called", "tools_valid",
    "tool_call_count",
}  # fmt: skip


def _about_content(one: Assertion) -> bool:
    if isinstance(one, written.AllOf):
        return any(map(_about_content, one.all_of))
    if isinstance(one, written.AnyOf):
        return any(map(_about_content, one.any_of))
    return _about_content(one.not_) if isinstance(one, written.Not) else kind_of(one) in _CONTENT


def _not(one: written.Not, at: Scene) -> Checked:
    if _about_content(one.not_):
        not_empty(at.given)
    outcome = _outcome(one.not_, at)
    if outcome.verdict == "hold":
        return "hold", outcome.sentence
    return ("fail" if outcome.verdict == "pass" else "pass"), f"expected the opposite of: {outcome.sentence}"


def _all_of(one: written.AllOf, at: Scene) -> Checked:
    outcomes = [_outcome(part, at) for part in one.all_of]
    verdict = combined(outcomes)
    telling = next(outcome for outcome in outcomes if outcome.verdict == verdict)
    return verdict, f"all of {len(outcomes)}, such as {telling.kind}: {telling.sentence}"


def _any_of(one: written.AnyOf, at: Scene) -> Checked:
    outcomes = [_outcome(part, at) for part in one.any_of]
    verdicts = {outcome.verdict for outcome in outcomes}
    verdict: Verdict = "pass" if "pass" in verdicts else "hold" if "hold" in verdicts else "fail"
    telling = next(outcome for outcome in outcomes if outcome.verdict == verdict)
    return verdict, f"one of {len(outcomes)}, such as {telling.kind}: {telling.sentence}"


_COMBINING: dict[str, Check] = {"not": _not, "all_of": _all_of, "any_of": _any_of}
