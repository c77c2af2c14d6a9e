"""Equivalence holds its promises: healthy models do not fail, changes are found, nothing passes on nothing."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.equivalence import suite
from llmmigrate.regression.equivalence import CaseOutcomes, Rules, judge, verdict_of
from llmmigrate.regression.equivalence_exact import Counted, Run, excess, p_worse
from llmmigrate.regression.equivalence_intervals import (
    Pairs,
    highest_mean,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_difference,
    wilson,
)
from llmmigrate.regression.equivalence_power import DAMAGES, DEFAULT_CASES, Damage, Noise, cases_needed, chances


def case(name, target="ppp", control="ppp", again="ppp", *, known_failure=False):
    """Return a case from letters: p(ass), f(ail), h(old), e(rror)."""
    words = {"p": "pass", "f": "fail", "h": "hold", "e": "error"}
    runs = ([words[letter] for letter in run] for run in (target, control, again))
    return CaseOutcomes(str(name), *runs, known_failure=known_failure)


def steady(number, **runs):
    """Return cases with the same runs, named by them."""
    named = [run for run in runs.values() if isinstance(run, str)]
    return [case("-".join([f"c{n}", *named]), **runs) for n in range(number)]


def only(cases, rules=None):
    (found,) = judge({"json": cases}, rules or Rules())
    return found


def test_the_same_answers_everywhere_pass_and_say_what_was_ruled_out():
    found = only(steady(40))
    assert found.verdict == "pass"
    assert found.excess == 0
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 40))
    assert "of 10% allowed; control flips 0 against itself" in found.reason


def test_twenty_steady_cases_are_too_few_to_pass():
    found = only(steady(20))
    assert found.verdict == "hold"
    assert found.reason.startswith("no case of 20 got worse, and 29 that control passes are the fewest to pass")


def test_flips_fail_and_come_worst_first():
    found = only([*steady(50), case("half", "ppfff", "ppppp", "ppppp"), *steady(9, target="fff")])
    assert found.verdict == "fail"
    assert len(found.flips) == 10
    assert str(found.flips[0]) == "c0-fff: control fails 0 of 6, the target 3 of 3"
    assert found.flips[-1].case == "half"
    assert found.reason.startswith("10 cases flip, of 60 that control passes, beyond chance (p = 1.7e-05)")


def test_gains_pay_for_no_flip():
    flips = steady(8, target="fff")
    alone, paid = only(steady(50) + flips), only(steady(50) + flips + steady(40, control="fff", again="fff"))
    assert (alone.verdict, paid.verdict) == ("fail", "fail")
    assert paid.p == alone.p
    assert paid.excess == alone.excess
    assert len(paid.gains) == 40
    assert len(paid.flips) == 8


def test_gains_of_a_noisy_case_excuse_no_other():
    noisy = [*steady(20, control="fpp", again="ffp"), *steady(20, control="ffp", again="fpp")]
    found = only(noisy + steady(20, target="fff"))
    assert found.verdict == "fail"
    assert found.excess == pytest.approx(20 / 60)


def test_control_that_is_as_unsteady_as_the_target_does_not_fail_it():
    runs = ["fpp", "ppf", "ppp"]
    found = only([case(n, *order) for n, order in enumerate(product(runs, runs, runs))])
    assert found.verdict == "hold"
    assert found.p > 0.3


def test_nothing_passes_on_nothing():
    assert only([]).reason == "no cases: nothing passes on no data"
    assert only(steady(1)).reason == "one case: 29 that it passes are the fewest that prove anything"
    assert only(steady(60, control="fff", again="fff")).verdict == "hold"
    assert only(steady(60, target="")).reason == "no answer of the target could be decided"
    assert only(steady(60, control="", again="")).reason == "no answer of control could be decided"
    assert {only(steady(n)).verdict for n in range(8)} == {"hold"}
    assert verdict_of([]) == "hold"


def test_a_known_failure_fails_once_it_returns_and_cannot_be_outvoted():
    guard = case("guard", "ppf", "ppp", "ppp", known_failure=True)
    found = only([guard, *steady(500)])
    assert found.verdict == "fail"
    assert found.reason == "a known failure returned: guard"


def test_known_failures_that_stay_away_pass_and_say_how_much_that_proves():
    guards = steady(4, known_failure=True)
    assert only(guards).verdict == "pass"
    assert "in 12 answers: one that 22% of them have would have been met (95%)" in only(guards).reason
    untold = only([*guards, case("unsure", "hhe", known_failure=True)])
    assert untold.verdict == "hold"
    assert untold.reason == "no telling whether a known failure returned: unsure"


def test_errors_of_no_model_are_neither_pass_nor_fail():
    found = only([*steady(60), case("lost", "epp", "ppp", "ppp")])
    assert found.verdict == "pass"
    lost = only([*steady(60), *steady(6, target="eep")])
    assert (lost.verdict, lost.flips) == ("hold", ())
    assert lost.reason == "12 of 198 of the target's answers were lost to errors of no model: ask again"
    assert only([*steady(60), *steady(6, again="eep")]).reason.startswith("12 of 198 of control's second answers")


def test_cases_that_the_target_never_answered_count_against_a_pass():
    assert only(steady(60)).bound < only([*steady(58), *steady(2, target="eee")]).bound
    assert only([*steady(58), *steady(2, target="eee")]).bound == pytest.approx(highest_mean(2, 60))


def test_too_many_undecided_answers_hold():
    found = only([*steady(60), *steady(30, target="hhp")])
    assert found.verdict == "hold"
    assert found.reason == "60 of 270 of the target's answers could not be decided"


def test_answers_that_can_no_longer_be_told_count_against_a_pass():
    """A model that refuses in words that no rule knows is not equal because its answers are uncertain."""
    assert only(steady(100)).verdict == "pass"
    vague = only([*steady(85), *steady(15, target="hhh")])
    assert vague.verdict == "hold"
    assert "15.0 cases' worth because the target's answers could not be told" in vague.reason
    alike = only([*steady(85), *steady(15, target="hhh", control="hhp", again="hph")])
    assert alike.bound < vague.bound


def test_a_second_run_of_some_cases_only_is_said():
    found = only([*steady(40), *(case(f"d{n}", again="") for n in range(5))])
    assert found.assumed.startswith("control was not run again on 5 of 45 cases")


def test_a_case_that_is_given_twice_is_an_error():
    with pytest.raises(ValueError, match="json: a case is given twice: c0"):
        only([*steady(3), *steady(1)])


def test_cases_that_only_fail_more_often_fail_too():
    found = only([*steady(30), *steady(30, target="fpp")])
    assert found.verdict == "fail"
    assert found.reason.startswith("30 cases fail more often, without a flip, of 60 that control passes")


def test_control_that_changed_between_its_runs_is_no_measure():
    found = only(steady(40) + steady(20, target="fff", again="fff"))
    assert found.verdict == "hold"
    assert "control's two runs differ beyond chance" in found.reason


def test_without_a_second_run_the_verdict_says_what_it_assumed():
    found = only(steady(40, again=""))
    assert found.verdict == "pass"
    assert found.assumed == "control was not run again, so that all of its noise counts against the target"
    assert found.assumed in found.reason
    assert found.control_flips is None
    noisy = steady(20, control="fpp", target="pff", again="") + steady(20, control="pff", target="fpp", again="")
    assert only(noisy).verdict == "hold"


def test_verdicts_are_plain_data_with_failed_ones_first():
    found = judge({"a": steady(40), "b": steady(3), "c": [*steady(40), *steady(12, target="fff")]})
    assert [one.verdict for one in found] == ["fail", "hold", "pass"]
    assert verdict_of(found) == "fail"
    plain = json.loads(json.dumps([one.to_json() for one in found]))
    assert plain[0]["flips"][0]["target"] == {"fails": 3, "answers": 3}
    assert (plain[0]["invariant"], plain[2]["gains"]) == ("c", [])


def test_more_invariants_ask_for_more_evidence():
    seven = [*steady(60), *steady(5, target="fff")]
    one, many = judge({"a": seven}), judge({"a": seven} | {f"b{n}": steady(60) for n in range(19)})
    assert (one[0].verdict, one[0].p) == ("fail", pytest.approx(3.0**-5))
    assert many[0].p == pytest.approx(20 * 3.0**-5)
    assert verdict_of(many) != "fail"


def test_the_p_value_is_that_of_all_ways_to_exchange_runs():
    """By brute force: each case's three runs in the target's place in turn, all combinations of them."""
    cases = [
        Counted("a", Run(3, 3), (Run(0, 3), Run(1, 3))),
        Counted("b", Run(1, 2), (Run(0, 3), Run(0, 3))),
        Counted("c", Run(0, 3), (Run(2, 3), Run(3, 3))),
        Counted("d", Run(2, 3), (Run(1, 1),)),
        Counted("e", Run(2, 3), (Run(1, 3),)),
    ]

    def loss(target, others):
        return round(60 * max(0.0, target.rate - max(run.rate for run in others)))

    ways = []
    for one in cases:
        runs = [one.target, *one.control]
        ways.append([loss(run, runs[:n] + runs[n + 1 :]) for n, run in enumerate(runs)])
    observed = sum(way[0] for way in ways)
    sums = [sum(combination) for combination in product(*ways)]
    assert p_worse(cases) == pytest.approx(sum(total >= observed for total in sums) / len(sums))


runs = st.integers(1, 4).flatmap(lambda n: st.integers(0, n).map(lambda failed: Run(failed, n)))
counted = st.builds(Counted, st.just("x"), runs, st.lists(runs, min_size=1, max_size=2).map(tuple))


@given(st.lists(counted, max_size=30))
@settings(max_examples=60)
def test_a_p_value_is_a_chance_and_a_case_that_fails_more_never_raises_it(cases):
    p = p_worse(cases)
    assert 0 <= p <= 1
    assert all(0 <= excess(one) <= 1 for one in cases)
    flip = Counted("flip", Run(3, 3), (Run(0, 3), Run(0, 3)))
    assert p_worse([*cases, flip]) <= p + 1e-9


def test_healthy_suites_fail_in_at_most_one_of_twenty_even_where_answers_are_copied():
    """80 suites of 10 invariants; at a level of 2.5%, five failures or more have a chance of 5%."""
    random = np.random.default_rng(1)
    found = [suite(random, Noise(), copied=0.5 * (n % 2)) for n in range(80)]
    assert sum(verdict_of(each.values()) == "fail" for each in found) <= 4


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_each_change_is_found_at_the_default_size_and_never_passes(damage):
    random = np.random.default_rng(2)
    answers = [suite(random, Noise(), [damage])[damage.name] for _ in range(24)]
    assert sum(one.verdict == "fail" for one in answers) >= 21
    assert not [one for one in answers if one.verdict == "pass"]


def test_a_plan_learns_how_many_cases_it_needs():
    needed = [cases_needed(damage) for damage in DAMAGES]
    spread, tenth, fence, renamed, absent = needed
    assert max(needed) <= DEFAULT_CASES
    assert fence < absent <= renamed < spread <= tenth
    assert cases_needed(DAMAGES[0], noise=Noise(0.02)) < spread
    assert cases_needed(None) <= DEFAULT_CASES
    assert chances(None).fails <= 0.025
    assert cases_needed(Damage("one case in a hundred", share=0.01, severity=1.0)) is None


def test_wilson_agrees_with_published_ranges():
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3."""
    for (successes, n), (low, high) in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.tuples(*[st.integers(0, 40)] * 4))
def test_a_paired_range_holds_its_estimate_and_turns_with_the_pairs(counts):
    pairs = Pairs(*counts)
    low, high = paired_difference(pairs)
    assert -1 <= low <= high <= 1
    if pairs.n:
        assert low - 1e-12 <= (pairs.second - pairs.first) / pairs.n <= high + 1e-12
    turned = paired_difference(Pairs(pairs.both, pairs.second, pairs.first, pairs.neither))
    assert turned == pytest.approx((-high, -low))
    assert mcnemar(pairs) == mcnemar(Pairs(pairs.both, pairs.second, pairs.first, pairs.neither))


def test_a_paired_range_covers_the_truth():
    random = np.random.default_rng(4)
    chance, covered = [0.5, 0.2, 0.05, 0.25], 0
    for _ in range(400):
        low, high = paired_difference(Pairs(*(int(n) for n in random.multinomial(60, chance))))
        covered += low <= -0.15 <= high
    assert covered >= 0.93 * 400


def test_mcnemar_is_the_sign_test_of_what_changed():
    assert mcnemar(Pairs(50, 0, 5, 50)) == pytest.approx(2 / 2**5)
    assert mcnemar(Pairs(50, 0, 0, 50)) == 1.0


def test_a_large_sample_is_drawn_in_parts():
    first = np.arange(1.0, 3001.0)
    found = paired_bootstrap(first, 2 * first, draws=700)
    assert found.estimate == pytest.approx(1.0)
    assert found.interval == pytest.approx((1.0, 1.0))


def test_a_thousand_cases_of_ten_repetitions_are_no_matter():
    random = np.random.default_rng(9)
    rates = random.beta(0.5, 2.0, 1000)
    fails = [random.binomial(10, rates).tolist() for _ in range(3)]
    cases = [
        Counted(str(n), Run(t, 10), (Run(c, 10), Run(a, 10))) for n, (t, c, a) in enumerate(zip(*fails, strict=True))
    ]
    assert 0.001 < p_worse(cases) < 1
    broken = [Counted(one.case, Run(10, 10), one.control) for one in cases]
    assert p_worse(broken) == 1e-12


def test_holm_steps_down_in_the_order_given():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_the_bound_of_a_mean_holds_for_parts_as_for_whole_cases():
    random = np.random.default_rng(3)
    for values in (random.beta(0.2, 1.8, (400, 80)), (random.random((400, 80)) < 0.1).astype(float)):
        above = [highest_mean(float(row.sum()), 80) >= 0.1 for row in values]
        assert sum(above) >= 0.95 * 400


def test_a_bootstrap_covers_the_truth_and_says_nothing_of_one_pair():
    random = np.random.default_rng(6)
    covered = 0
    for _ in range(200):
        first = random.gamma(2.0, 50.0, 80)
        second = 0.9 * first * random.gamma(20.0, 1 / 20, 80)
        low, high = paired_bootstrap(first, second, draws=400).interval
        covered += low <= -0.1 <= high
    assert covered >= 0.90 * 200
    assert paired_bootstrap([1.0], [2.0]).p == 1.0
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap([1.0], [2.0, 3.0])
