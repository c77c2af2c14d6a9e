"""Equivalence of two models on a suite: what fails on the target, beyond what control does to itself.

Each case is answered several times by the target, by control, and by control again (A/A). Two questions are asked of
each invariant. Did any case get worse? That is the exact test of `equivalence_exact`, with Holm's correction over
invariants. How many may have got worse? That is the upper bound of the mean excess over cases. docs/equivalence.md has
the whole of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from llmmigrate.regression.equivalence_exact import Counted, Run, excess, p_worse
from llmmigrate.regression.equivalence_intervals import highest_mean, holm
from llmmigrate.verdict import Answer

Outcome = Literal["pass", "fail", "hold", "error"]
"""What came of one answer: `hold` could not be told (no judge, unsure), `error` is infrastructure (429, timeout)."""


@dataclass(frozen=True, slots=True)
class CaseOutcomes:
    """What came of every repetition of one case, for one invariant.

    `again` is control's second run (A/A), empty where there was none. `known_failure` marks a case that guards against
    a failure that was met before: it may not fail once.
    """

    case: str
    target: Sequence[Outcome]
    control: Sequence[Outcome]
    again: Sequence[Outcome] = ()
    known_failure: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a verdict is held to.

    `alpha_fail` is the chance, over all invariants of a suite together, that one fails though no case got worse: half
    of the 5% that is promised. `alpha_pass` is the chance, for each invariant, that it passes though the excess is
    above `margin`, a share of the cases that control passes. More than `most_errors` of a run's answers lost to
    infrastructure, or `most_undecided` of them undecided, hold; so do fewer than `fewest_cases` that control passes.
    `aa_alpha` is the chance, over all invariants, that a control which did not change is said to have.
    """

    alpha_fail: float = 0.025
    alpha_pass: float = 0.05
    margin: float = 0.10
    most_errors: float = 0.05
    most_undecided: float = 0.20
    fewest_cases: int = 2
    aa_alpha: float = 0.01


RULES = Rules()


class Shift(NamedTuple):
    """A case that changed sides: how many of its answers failed, of how many, on control and on the target."""

    case: str
    control: Run
    target: Run

    def __str__(self) -> str:
        (before, asked), (after, answers) = self.control, self.target
        return f"{self.case}: control fails {before} of {asked}, the target {after} of {answers}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"case": self.case, "control": self.control._asdict(), "target": self.target._asdict()}


@dataclass(frozen=True, slots=True)
class InvariantVerdict:
    """The answer for one invariant.

    `flips` passed on control and fail on the target, worst first; `gains` are the other way and pay for no flip;
    those of `worse` fail more often than on control without that. `control_flips` is how many cases control flips
    against itself, None where it was not run again. `excess` is the mean, over the cases that control passes at
    least once, of what the target fails beyond the worse of control's runs; `bound` its 95% upper bound, what could
    not be told counted in; `p` Holm's adjusted p-value of the test. They are None where there is nothing to tell
    them from. `reason` says in a sentence why, `assumed` what had to be taken for granted.
    """

    invariant: str
    verdict: Answer
    reason: str
    cases: int = 0
    passed_on_control: int = 0
    flips: tuple[Shift, ...] = ()
    gains: tuple[Shift, ...] = ()
    worse: tuple[Shift, ...] = ()
    control_flips: int | None = None
    excess: float | None = None
    bound: float | None = None
    p: float | None = None
    assumed: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return plain | {name: [one.to_json() for one in plain[name]] for name in ("flips", "gains", "worse")}


def judge(invariants: Mapping[str, Sequence[CaseOutcomes]], rules: Rules = RULES) -> list[InvariantVerdict]:
    """Return one verdict an invariant, failed ones first, then held ones.

    An invariant fails where Holm's adjusted p-value over all invariants is at most `rules.alpha_fail`, or where a known
    failure returned, once. It passes where the 95% upper bound of its excess is at most `rules.margin`. Everything
    else holds, and so does whatever has too little, or too doubtful, data.
    """
    evidence = [_Evidence(name, cases) for name, cases in invariants.items()]
    worse, drift = _adjusted(one.p for one in evidence), _adjusted(one.p_drift for one in evidence)
    found = [one.verdict(rules, p, drifted) for one, p, drifted in zip(evidence, worse, drift, strict=True)]
    order: dict[Answer, int] = {"fail": 0, "hold": 1, "pass": 2}
    return sorted(found, key=lambda one: (order[one.verdict], -len(one.flips)))


def fewest_that_pass(rules: Rules = RULES) -> int:
    """Return how many cases that control passes an invariant needs at least to pass: where none of them got worse."""
    return math.ceil(math.log(rules.alpha_pass) / math.log(1 - rules.margin))


def passed_on_control(cases: Iterable[CaseOutcomes]) -> int:
    """Return how many cases control passes at least once: those that can get worse."""
    return sum(_passes(_counted(case).baseline) for case in cases)


def verdict_of(verdicts: Iterable[InvariantVerdict]) -> Answer:
    """Return the verdict of a whole suite: its worst; a suite without any invariant holds."""
    answers = {one.verdict for one in verdicts}
    if not answers:
        return "hold"
    return "fail" if "fail" in answers else "hold" if "hold" in answers else "pass"


def _adjusted(p_values: Iterable[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values of those that there are."""
    listed = list(p_values)
    adjusted = iter(holm([p for p in listed if p is not None]))
    return [None if p is None else next(adjusted) for p in listed]


class _Evidence:
    """One invariant, counted."""

    def __init__(self, name: str, cases: Sequence[CaseOutcomes]) -> None:
        twice = [case for case, times in Counter(case.case for case in cases).items() if times > 1]
        if twice:
            raise ValueError(f"{name}: a case is given twice: {_names(twice)}")
        self._name = name
        self._cases = cases
        counted = [_counted(case) for case in cases]
        self._known = [case for case in counted if case.target is not None and case.control]
        self._at_risk = [case for case in counted if _passes(case.baseline)]
        self._excess = sum(map(excess, self._at_risk))
        self._lost = sum(map(_lost, cases, counted))
        self._target = sum(case.target.answers for case in counted if case.target is not None)
        self._no_control = not any(case.control for case in counted)
        self._again = [one for one in (case.control_against_itself() for case in counted) if one is not None]
        back = [one for one in (case.control_against_itself(swapped=True) for case in counted) if one is not None]
        self.p = p_worse(self._known) if self._known else None
        self.p_drift = min(1.0, 2 * min(p_worse(self._again), p_worse(back))) if self._again else None

    def verdict(self, rules: Rules, p: float | None, drift: float | None) -> InvariantVerdict:
        """Decide, given both p-values as adjusted for all invariants."""
        n = len(self._at_risk)
        bound = highest_mean(self._lost, n, alpha=rules.alpha_pass) if n else None
        worst_first = sorted(self._known, key=lambda case: (-excess(case), case.case))
        flips = [case for case in worst_first if case.flipped]
        answer, reason = self._answer(rules, p=p, drift=drift, bound=bound, flips=len(flips))
        return InvariantVerdict(
            self._name,
            answer,
            reason,
            cases=len(self._cases),
            passed_on_control=n,
            flips=_shifts(flips),
            gains=_shifts(case for case in self._known if case.gained),
            worse=_shifts(case for case in worst_first if excess(case) > 0 and not case.flipped),
            control_flips=self._control_flips,
            excess=self._excess / n if n else None,
            bound=bound,
            p=p,
            assumed=self._assumed,
        )

    @property
    def _assumed(self) -> str:
        once = sum(len(case.control) < 2 for case in self._known)
        if not once:
            return ""
        where = "" if once == len(self._known) else f" on {once} of {len(self._known)} cases"
        return f"control was not run again{where}, so that all of its noise counts against the target"

    def _answer(
        self, rules: Rules, *, p: float | None, drift: float | None, bound: float | None, flips: int
    ) -> tuple[Answer, str]:
        returned = [case.case for case in self._cases if case.known_failure and "fail" in case.target]
        if returned:
            return "fail", f"a known failure returned: {_names(returned)}"
        doubt = self._doubt(rules)
        if doubt is not None:
            return "hold", doubt
        if self._cases and all(case.known_failure for case in self._cases):
            seen = 1 - rules.alpha_pass ** (1 / self._target)
            words = f"no known failure returned in {self._target} answers"
            return "pass", f"{words}: one that {seen:.0%} of them have would have been met (95%)"
        if bound is None or not self._target or len(self._at_risk) < rules.fewest_cases:
            return "hold", self._too_few(rules)
        if drift is not None and drift <= rules.aa_alpha:
            return "hold", "control's two runs differ beyond chance: it changed meanwhile, and is no measure of itself"
        return self._by_figures(rules, p=p, bound=bound, flips=flips)

    def _by_figures(self, rules: Rules, *, p: float | None, bound: float, flips: int) -> tuple[Answer, str]:
        n = len(self._at_risk)
        own = f"; control flips {self._control_flips} against itself" if self._again else ""
        notes = f"{own}; {self._assumed}" if self._assumed else own
        if p is not None and p <= rules.alpha_fail:
            more = sum(excess(case) > 0 for case in self._at_risk) - flips
            others = (
                [f"{more} more fail more often" if flips else _cases(more, "fail") + " more often, without a flip"]
                if more > 0
                else []
            )
            number = [_cases(flips, "flip")] if flips else []
            return (
                "fail",
                f"{' and '.join([*number, *others])}, of {n} that control passes, beyond chance (p = {p:.2g}){notes}",
            )
        worse = f"{bound:.1%} of cases may have got worse (95%), of {rules.margin:.0%} allowed"
        if bound <= rules.margin:
            return "pass", f"at most {worse}{notes}"
        enough = fewest_that_pass(rules)
        if self._lost == 0 and n < enough:
            return "hold", f"no case of {n} got worse, and {enough} that control passes are the fewest to pass{notes}"
        untold = self._lost - self._excess
        blurred = f", {untold:.1f} cases' worth because the target's answers could not be told" if untold > 0.5 else ""
        return "hold", f"up to {worse}{blurred}: more cases tell{notes}"

    @property
    def _control_flips(self) -> int | None:
        return sum(case.flipped for case in self._again) if self._again else None

    def _too_few(self, rules: Rules) -> str:
        if not self._cases:
            return "no cases: nothing passes on no data"
        if not self._target:
            return "no answer of the target could be decided"
        if self._no_control:
            return "no answer of control could be decided"
        needed = f"{fewest_that_pass(rules)} that it passes are the fewest that prove anything"
        if len(self._cases) == 1:
            return f"one case: {needed}"
        return f"control passes {len(self._at_risk)} of {len(self._cases)} cases: {needed}"

    def _doubt(self, rules: Rules) -> str | None:
        """Return what makes the answers too doubtful to decide on, of whichever run."""
        untold = [case.case for case in self._cases if case.known_failure and "pass" not in case.target]
        if untold:
            return f"no telling whether a known failure returned: {_names(untold)}"
        for whose, outcomes in (
            ("the target's", [outcome for case in self._cases for outcome in case.target]),
            ("control's", [outcome for case in self._cases for outcome in case.control]),
            ("control's second", [outcome for case in self._cases for outcome in case.again]),
        ):
            errors, undecided = outcomes.count("error"), outcomes.count("hold")
            if errors > rules.most_errors * len(outcomes):
                return f"{errors} of {len(outcomes)} of {whose} answers were lost to errors of no model: ask again"
            if undecided > rules.most_undecided * len(outcomes):
                return f"{undecided} of {len(outcomes)} of {whose} answers could not be decided"
        return None


def _counted(case: CaseOutcomes, *, bad: tuple[Outcome, ...] = ("fail",)) -> Counted:
    """Count runs; with "hold" among what is bad, an answer that could not be told counts as a failed one."""
    target, *control = (_run(outcomes, bad) for outcomes in (case.target, case.control, case.again))
    return Counted(case.case, target, tuple(run for run in control if run is not None))


def _run(outcomes: Sequence[Outcome], bad: tuple[Outcome, ...]) -> Run | None:
    listed = list(outcomes)
    fails = sum(map(listed.count, bad))
    answers = fails + listed.count("pass")
    return Run(fails, answers) if answers else None


def _lost(case: CaseOutcomes, counted: Counted) -> float:
    """Return how much of a case that control passes may be lost, for the bound of a pass.

    An answer of the target that can no longer be told, where control's could be, counts as lost, and so does a case
    that it never answered.
    """
    if not _passes(counted.baseline):
        return 0.0
    if "hold" not in case.target:
        return excess(counted) if counted.target is not None else 1.0
    return max(excess(counted), excess(_counted(case, bad=("fail", "hold"))))


def _passes(run: Run | None) -> bool:
    """Tell whether a run passed at least once."""
    return run is not None and run.fails < run.answers


def _shifts(cases: Iterable[Counted]) -> tuple[Shift, ...]:
    both = ((case.case, case.baseline, case.target) for case in cases)
    return tuple(Shift(name, before, after) for name, before, after in both if before is not None and after is not None)


def _cases(number: int, verb: str) -> str:
    return f"1 case {verb}s" if number == 1 else f"{number} cases {verb}"


def _names(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
