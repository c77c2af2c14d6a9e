"""What a run of a suite says: no hold looks like a pass, nothing that was never decided is passed over in silence."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.watched import ENGLISH, SPANISH
from llmmigrate.exceptions import LlmmigrateError, ModelError
from llmmigrate.regression import reports
from llmmigrate.regression.results import TOGETHER, to_json
from llmmigrate.regression.running import SILENT, SILENT_BUSY
from llmmigrate.regression.suite import read_suite
from llmmigrate.regression.watched import hooks
from llmmigrate.visible import visible
from tests.test_suite_run import (
    TEMPLATE,
    Memory,
    Scripted,
    begun_in,
    command_in,
    number,
    recording,
    run,
    suite_of,
)

TURNED = "\N{RIGHT-TO-LEFT OVERRIDE}"


def junit_of(result):
    root = ET.fromstring(reports.junit(result))
    return root, {case.get("name"): [part.tag for part in case] for case in root.iter("testcase")}


def mixed(*assertions, cases=40, kind=None):
    """Return a suite of which each case asserts the first, and one more case asserts each of the others."""
    lines = [f"  - {{id: c{n}, input: 'question {n}', assert: [{assertions[0]}]}}" for n in range(cases)]
    for place, assertion in enumerate(assertions[1:]):
        more = f", kind: {kind}, incident: {{id: i, date: 2026-01-01}}" if kind else ""
        lines.append(f"  - {{id: x{place}, input: 'question {cases + place}', assert: [{assertion}]{more}}}")
    return read_suite(("cases:\n" + "\n".join(lines) + "\n").encode(), "s.yaml")


def test_a_suite_that_holds_is_an_error_to_ci_and_undecided_cases_were_skipped():
    suite = suite_of(6, "{judge: polite}")
    result, *_ = run(suite)
    assert result.verdict == "hold"
    root, cases = junit_of(result)
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("7", "0", "1", "6")
    assert cases["c0"] == ["skipped"]
    assert cases["the suite"] == ["error", "system-out"]
    assert "no judge is configured" in root.find("testcase/skipped").get("message")
    few, *_ = run(suite_of(3))
    root, cases = junit_of(few)
    assert (root.get("errors"), root.get("skipped")) == ("1", "0")
    assert cases["c0"] == []


def test_a_case_that_no_answer_was_held_against_holds_the_suite_and_is_named():
    suite = mixed('{contains: "yes"}', '{contains: "yes"}, {python: "no_such_module:check"}', "{latency: 100s}")
    nobody_measured = Scripted()
    result, *_ = run(suite, old=nobody_measured, hooks=hooks(python=True))
    assert result.verdict == "hold"
    [found] = result.undecided
    assert (found.case, found.line, found.where, found.kind) == ("x0", 42, "1.2", "python")
    assert "no_such_module" in found.why
    assert "1 case could never be decided: x0: " in result.reason
    page = reports.page(result, TEMPLATE, title="t", control="a", target="b")
    assert page.count("no_such_module") >= 2
    assert to_json(result)["undecided"][0]["case"] == "x0"
    without, *_ = run(suite, hooks=hooks(python=False))
    assert "--allow-python" in without.reason


def test_refusals_that_cannot_be_told_hold_only_where_they_are_many():
    """The share that may stay open is a fifth; of anything else none may."""
    suite = suite_of(40, "{refusal: unexpected}")

    def answers(count):  # no rule tells a refusal in Spanish
        return Scripted(lambda r: (SPANISH if number(r) < count else ENGLISH).format(n=1))

    told, *_ = run(suite, old=answers(4), new=answers(4), hooks=hooks(python=False))
    assert (told.verdict, len(told.undecided)) == ("pass", 4)
    many, *_ = run(suite, old=answers(20), new=answers(20), hooks=hooks(python=False))
    assert many.verdict == "hold"


def test_what_too_few_cases_assert_passes_with_all_others_and_not_where_one_flips():
    suite = mixed('{contains: "yes"}', '{regex: "ye."}', '{equals: "yes"}', cases=60)
    result, *_ = run(suite)
    assert result.verdict == "pass"
    by = {one.invariant: one for one in result.verdicts}
    assert by[TOGETHER].passed_on_control == 62
    assert by["invariant: regex"].reason == "1 case of 62, that pass together; none flips"
    flipped, *_ = run(suite, new=Scripted(lambda r: "no" if number(r) == 60 else "yes"))
    by = {one.invariant: one for one in flipped.verdicts}
    assert flipped.verdict == "hold"
    assert (by["invariant: regex"].verdict, by["invariant: equals"].verdict) == ("hold", "pass")
    assert "invariant: regex: x0: control fails 0 of 6, the target 3 of 3; 1 in all are too few" in flipped.reason
    small, *_ = run(mixed('{contains: "yes"}', '{regex: "ye."}', cases=20))
    assert small.verdict == "hold"
    assert "no case of 20 got worse, and 29 that control passes are the fewest to pass" in small.reason
    known, *_ = run(mixed('{contains: "yes"}', '{regex: "ye."}', kind="failure"))
    assert known.verdict == "pass"
    assert TOGETHER not in {one.invariant for one in known.verdicts}


@pytest.mark.parametrize(
    "error",
    [ModelError("auth", "bad key"), ModelError("connection", "refused"), ModelError("bad_request", "?", status=404)],
)
def test_a_model_that_never_answers_is_not_asked_for_ever(error):
    for side in ("old", "new"):
        silent = Scripted(lambda _: error)
        with pytest.raises(LlmmigrateError, match=rf"fake/{side} answered none of \d+ calls: "):
            run(suite_of(60), **{side: silent}, at_once=4)
        assert len(silent.requests) <= SILENT + 2 * 4


def test_a_model_that_is_asked_too_much_is_asked_on():
    busy = Scripted(lambda _: ModelError("rate_limit", "slow down"))
    result, _, new = run(suite_of(10), new=busy)
    assert len(new.requests) == 30
    assert result.verdict == "hold"
    with pytest.raises(LlmmigrateError, match="rate_limit"):
        run(suite_of(60), new=busy)
    assert len(busy.requests) <= 30 + SILENT_BUSY + 16


def test_what_is_kept_counts_as_answered():
    """A case that neither model can answer is asked again and again, and is no silence of the model."""
    kept = Memory()

    def odd(request):
        return ModelError("malformed", "no JSON") if number(request) >= 84 else "yes"

    first, *_ = run(suite_of(90), old=Scripted(odd), new=Scripted(odd), answers=kept)
    again, *_ = run(suite_of(90), old=Scripted(odd), new=Scripted(odd), answers=kept)
    assert (first.verdict, again.verdict) == ("hold", "hold")
    assert {one.case for one in again.undecided} == {f"c{n}" for n in range(84, 90)}
    assert again.undecided[0].why == "no answer came"


def test_what_control_never_passes_proves_nothing_however_many_others_pass():
    suite = mixed('{contains: "yes"}', *["{equals: never}"] * 5, cases=60)
    result, *_ = run(suite)
    assert result.verdict == "hold"
    assert "control never passes 5 of 5 cases: look at what they assert" in result.reason


def test_what_was_not_asked_is_not_lost():
    result, *_ = run(suite_of(30), max_cost=0.0)
    assert result.verdict == "hold"
    assert result.reason == "270 of the suite's answers were not asked for: $0 were spent"
    assert not any("lost" in one.reason for one in result.verdicts)
    _, cases = junit_of(result)
    assert cases["c0"] == ["skipped"]


def test_cases_that_fail_more_often_without_a_flip_are_named_and_come_first():
    calls = {}

    def sometimes(request):
        calls[number(request)] = calls.get(number(request), 0) + 1
        return "no" if number(request) >= 20 and calls[number(request)] == 1 else "yes"

    result, *_ = run(suite_of(40), new=Scripted(sometimes))
    assert result.verdict == "fail"
    [asserted] = [one for one in result.verdicts if one.invariant == "invariant: contains"]
    assert (len(asserted.flips), {one.case for one in asserted.worse}) == (0, {f"c{n}" for n in range(20, 40)})
    page = reports.page(result, TEMPLATE, title="t", control="a", target="b")
    assert page.index("<b>c20</b>") < page.index("<b>c0</b>")
    assert '<span class="worse">' in page
    assert "fails more often than on control" in reports.junit(result)


def test_what_does_not_print_is_shown_as_its_escape():
    name = "na\x1b[31m\x00me"
    suite = read_suite(
        f"name: {json.dumps(name)}\ncases: [{{id: a, input: 'question 1', assert: [{{contains: x}}]}}]\n".encode(), "s"
    )
    result, *_ = run(suite, new=Scripted(lambda _: f"\x1b[2J{TURNED}gnp\x07"))
    ET.fromstring(reports.junit(result))
    page = reports.page(result, TEMPLATE, title="t", control="a", target="b")
    assert not {"\x1b", "\x00", "\x07", TURNED} & set(page)
    assert r"\x1b[2J\u202egnp\x07" in page


@given(st.text(st.characters()))
def test_visible_text_holds_nothing_that_moves_a_terminal_and_loses_no_other_letter(text):
    shown = visible(text)
    assert all(sign in "\t\n" or ord(sign) >= 32 for sign in shown)
    assert not any("\x7f" <= sign <= "\x9f" for sign in shown)
    shown.encode("utf-8")
    plain = "".join(sign for sign in text if sign.isprintable())
    assert visible(plain) == plain


def test_a_report_stands_where_nothing_else_does_and_functions_are_those_of_the_project(tmp_path):
    begun_in(tmp_path)
    call = command_in(tmp_path)
    cases = "\n".join(f"  - {{id: c{n}, input: 'q {n}', assert: [{{python: 'checks:ok'}}]}}" for n in range(40))
    suite = tmp_path / "regression" / "s.yaml"
    suite.write_text(f"cases:\n{cases}\n")
    before = suite.read_bytes()
    (tmp_path / "checks.py").write_text("def ok(given):\n    return given.text == 'yes'\n")
    for name in ("old", "new"):
        recording(tmp_path / "recordings", name, {f"q {n}": "yes" for n in range(40)})
    for option, place in (("--junit", "regression/s.yaml"), ("--html", "none/s.html"), ("--html", "regression")):
        code, out, err = call("test", "r", option, place)
        assert (code, out) == (2, ""), err
    assert suite.read_bytes() == before
    code, out, _ = call("test", "r", "--junit", "s.xml")
    assert code == 3
    assert "never decided  c0 (line 2): python cannot be evaluated: functions of the project may not run" in out
    code, out, _ = call("test", "r", "--junit", "s.xml", "--allow-python")
    assert code == 0, out
    code, out, _ = call("test", "r", "--repeat", "1", "--allow-python")
    assert code == 0
    assert "This is no evidence: the document asks for 3 repetitions." in out
    call("upgrade", "r")
    code, out, _ = call("history", "r", "--format", "json")
    [row] = [row for row in json.loads(out)["history"] if row["to_phase"] == "shadow"]
    assert row["evidence"]["suite"]["answer"] == "pass"
