"""A suite runs on both models, goes on where it was, keeps to its cost, and says what got worse, at which case."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from datetime import timedelta
from random import Random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.exceptions import DocumentInvalid, ModelError, Problem, RefusedError
from llmmigrate.models import Clients, Completion, ModelClient, ToolCall, Usage
from llmmigrate.regression import reports
from llmmigrate.regression.asking import RoundAnswer, Side, answer_key, ask
from llmmigrate.regression.assertions import Hooks
from llmmigrate.regression.given import Given
from llmmigrate.regression.path_changes import path_changes
from llmmigrate.regression.running import run_suite
from llmmigrate.regression.suite import load_suite, read_suite
from llmmigrate.regression.watched import PREFIX, hooks
from llmmigrate.runner import ask as requested
from llmmigrate.runner import preview
from llmmigrate.scaffold import shipped_templates
from llmmigrate.store.evidence import KeptAnswers, RegressionRun, latest_run, put_run
from tests.conftest import ROUTE, both_backends
from tests.invariants import broken

OLD, NEW = Side("fake/old", {}), Side("fake/new", {"temperature": 0}, system="Be brief.")
TEMPLATE = (shipped_templates() / "reports" / "suite.html.j2").read_text("utf-8")


def suite_of(cases=30, assertion='{contains: "yes"}', extra=""):
    lines = [f"  - {{id: c{n}, input: 'question {n}', assert: [{assertion}]}}" for n in range(cases)]
    return read_suite(("cases:\n" + "\n".join(lines) + "\n" + extra).encode(), "s.yaml")


class Scripted(ModelClient):
    """Answer by a function of the request; keep the requests, and how many were under way at once."""

    def __init__(self, answer=lambda request: "yes", cost=0.01):
        self.answer, self.cost = answer, cost
        self.requests = []
        self.active = self.most = 0

    async def complete(self, request):
        self.requests.append(request)
        self.active += 1
        self.most = max(self.most, self.active)
        await asyncio.sleep(0)
        self.active -= 1
        said = self.answer(request)
        if isinstance(said, ModelError):
            raise said
        if isinstance(said, Completion):
            return said
        return Completion(request.model, said, Usage(10, 5), 0.1, cost_usd=self.cost)


class Memory(dict):
    put = dict.__setitem__


def run(suite, old=None, new=None, **options):
    old, new = old or Scripted(), new or Scripted()
    options = {"repetitions": 3, "hooks": Hooks(), **options}
    result = asyncio.run(
        run_suite(suite, control=OLD, target=NEW, clients=Clients({"fake/old": old, "fake/new": new}), **options)
    )
    return result, old, new


def number(request):
    return int(re.findall(r"\d+", request.messages[0]["content"])[0])


def test_equal_models_pass_and_each_is_asked_as_it_will_be_served():
    suite = suite_of()
    moments = []
    result, old, new = run(suite, watch=moments.append)
    assert result.verdict == "pass"
    assert (len(old.requests), len(new.requests)) == (180, 90)
    assert result.spent.calls == 270
    assert result.spent.cost == pytest.approx(2.70)
    assert {(one.system, one.params["temperature"]) for one in new.requests} == {("Be brief.", 0)}
    assert moments[-1].done == moments[-1].total == 270


def test_a_worse_target_fails_and_its_flips_are_named_first():
    result, *_ = run(suite_of(), new=Scripted(lambda r: "no" if number(r) < 8 else "yes"))
    assert result.verdict == "fail"
    verdict = result.verdicts[0]
    assert {flip.case for flip in verdict.flips} == {f"c{n}" for n in range(8)}
    assert "8 cases flip" in result.reason
    assert set(reports.flips_of(result)) == {f"c{n}" for n in range(8)}


def test_better_answers_elsewhere_pay_for_no_flip():
    old = Scripted(lambda r: "no" if number(r) >= 15 else "yes")
    new = Scripted(lambda r: "no" if number(r) < 8 else "yes")
    result, *_ = run(suite_of(), old=old, new=new)
    assert result.verdict == "fail"
    assert len(result.verdicts[0].gains) == 15


def test_errors_of_no_model_are_no_answers_and_too_many_of_them_hold():
    error = ModelError("rate_limit", "slow down")
    result, *_ = run(suite_of(), new=Scripted(lambda r: error if number(r) < 10 else "yes"))
    assert result.verdict == "hold"
    assert "lost to errors of no model" in result.reason
    assert result.spent.errors == {"rate_limit": 30}


def test_a_request_that_the_target_refuses_is_what_users_would_get():
    refused = ModelError("bad_request", "tool_choice is not supported")
    result, *_ = run(suite_of(), new=Scripted(lambda _: refused))
    assert result.verdict == "fail"
    assert any("the request was refused" in words for words in reports.failures_of(result.cases[0], "target"))


def test_a_filtered_answer_is_an_empty_one_that_was_declined():
    client = Scripted(lambda _: ModelError("content_filter", "blocked"))
    [case] = suite_of(1).cases
    [answer] = asyncio.run(ask(client, case, NEW))
    assert (answer.given.text, answer.given.finish_reason, answer.given.refusal) == ("", "content_filter", "blocked")


def test_nothing_is_asked_beyond_its_cost_and_the_verdict_holds():
    result, old, new = run(suite_of(), max_cost=0.50, at_once=2)
    assert result.verdict == "hold"
    assert 0.50 <= result.spent.cost <= 0.50 + 4 * 0.01
    assert len(old.requests) + len(new.requests) < 60
    assert "were not asked for: $0.5" in result.reason


def test_a_cost_that_nobody_can_tell_is_not_run_up():
    result, old, new = run(suite_of(), old=Scripted(cost=None), new=Scripted(cost=None), max_cost=1.0, at_once=2)
    assert result.verdict == "hold"
    assert len(old.requests) + len(new.requests) < 10
    assert "have no known price" in result.reason


def test_calls_at_once_are_bounded_and_fewer_after_a_model_says_so():
    new = Scripted()
    run(suite_of(), new=new, at_once=5)
    assert 1 < new.most <= 5
    busy = Scripted(lambda _: ModelError("overloaded", "later"))
    run(suite_of(12), new=busy, at_once=8)
    busy.most = 0
    assert busy.active == 0


def test_an_interrupted_run_goes_on_where_it_was():
    kept = Memory()
    run(suite_of(), max_cost=1.0, answers=kept)
    before = len(kept)
    assert 0 < before < 270
    result, old, new = run(suite_of(), answers=kept)
    assert result.verdict == "pass"
    assert result.spent.kept == before
    assert len(old.requests) + len(new.requests) == 270 - before
    again, old, new = run(suite_of(), answers=kept)
    assert (again.spent.calls, again.spent.kept, again.spent.cost) == (0, 270, 0)
    assert again.verdicts == result.verdicts


def test_failed_calls_are_not_kept_and_what_cannot_be_read_is_asked_again():
    kept = Memory()
    run(suite_of(2), new=Scripted(lambda _: ModelError("timeout", "late")), answers=kept)
    assert len(kept) == 12
    for key in kept:
        kept[key] = '{"no": "answer"}'
    result, old, new = run(suite_of(2), answers=kept)
    assert (len(old.requests), len(new.requests), result.spent.kept) == (12, 6, 0)


def test_a_key_changes_with_all_that_an_answer_depends_on():
    [case] = suite_of(1).cases
    [other] = read_suite(b"cases:\n  - {id: c0, input: 'question 0', params: {top_p: 0.5}}\n", "s.yaml").cases
    keys = {
        answer_key(case, NEW, "target", 0),
        answer_key(case, NEW, "target", 1),
        answer_key(case, OLD, "control", 0),
        answer_key(case, OLD, "again", 0),
        answer_key(case, Side("fake/new", {"temperature": 1}, system="Be brief."), "target", 0),
        answer_key(case, Side("fake/new", {"temperature": 0}, system="Be long."), "target", 0),
        answer_key(other, NEW, "target", 0),
    }
    assert len(keys) == 7


TURNS = b"""
cases:
  - id: order
    kind: failure
    incident: {id: INC-7}
    tools: [{name: lookup, parameters: {type: object, properties: {id: {type: string}}}}]
    turns:
      - user: "Where is order 7?"
        assert: [{tools_called: [lookup]}]
      - tool_results: {lookup: {status: shipped}}
        assert: [{contains: shipped}]
      - user: "Thanks. And which order was it?"
        assert: [{contains: "7"}]
"""


def conversation(request):
    said = request.messages[-1]
    if said["role"] == "user" and "Where" in said["content"]:
        call = ToolCall("call_1", "lookup", '{"id": "7"}')
        return Completion(request.model, "", Usage(9, 3), 0.1, "tool_calls", tool_calls=(call,))
    if said["role"] == "tool":
        return "It has been " + json.loads(said["content"])["status"]
    return "Order 7." if any("7" in str(message.get("content")) for message in request.messages) else "Which?"


def test_a_conversation_carries_each_answer_on_and_gives_the_tools_results():
    result, _, new = run(read_suite(TURNS, "s.yaml"), old=Scripted(conversation), new=Scripted(conversation))
    assert {one.verdict for one in result.verdicts if not one.invariant.startswith(PREFIX)} == {"pass"}
    third = new.requests[2].messages if len(new.requests[2].messages) == 5 else new.requests[-1].messages
    assert [message["role"] for message in third] == ["user", "assistant", "tool", "assistant", "user"]
    assert third[2] == {"role": "tool", "tool_call_id": "call_1", "content": '{"status": "shipped"}'}


def test_a_known_failure_that_returns_once_fails():
    calls = iter(range(100))

    def forgets(request):
        said = conversation(request)
        return "Which?" if said == "Order 7." and next(calls) == 1 else said

    result, *_ = run(read_suite(TURNS, "s.yaml"), old=Scripted(conversation), new=Scripted(forgets))
    assert result.verdict == "fail"
    assert "a known failure returned: order" in result.reason


def test_a_call_of_a_tool_that_the_case_has_no_result_of_is_told_so():
    def other(request):
        if len(request.messages) > 1:
            return "sorry"
        return Completion(request.model, "", Usage(9, 3), 0.1, tool_calls=(ToolCall("call_1", "search", "{}"),))

    _, _, new = run(read_suite(TURNS, "s.yaml"), old=Scripted(conversation), new=Scripted(other), repetitions=1)
    results = [message for request in new.requests for message in request.messages if message["role"] == "tool"]
    assert "no result of this tool" in results[0]["content"]


def test_a_suite_that_asserts_nothing_shows_nothing():
    result, *_ = run(read_suite(b"cases:\n  - {id: a, input: hello}\n", "s.yaml"))
    assert result.verdict == "hold"
    assert "nothing is shown" in result.reason


HOSTILE = '</pre><script>alert(1)</script>\x1b[31m\x00 {"a": 1}'


LONG = "Your order has been shipped today and it will be with you on Monday morning, as you asked us."


def test_what_no_case_asserts_is_watched_all_the_same():
    """A refusal, another language, a code fence, a renamed key, null for absent: each fails the suite by itself."""
    suite = suite_of(60, "{length: {chars: {min: 1}}}")
    data = {"id": 7, "status": "sent", "note": "left at the door"}

    def told(answer):
        return Scripted(lambda r: answer if number(r) < 20 else json.dumps(data) if number(r) < 50 else LONG)

    base = Scripted(lambda r: json.dumps(data) if number(r) < 50 else LONG)
    for worse, name in (
        (f"```json\n{json.dumps(data)}\n```", "form"),
        (json.dumps({"id": 7, "state": "sent", "note": "left at the door"}), "keys and kinds"),
        (json.dumps({"id": 7, "status": "sent", "note": None}), "keys and kinds"),
        (json.dumps({"id": 7, "status": "sent"}), "keys and kinds"),
        (json.dumps({**data, "id": "7"}), "keys and kinds"),
        ("I'm sorry, but I can't help with that request.", "does not decline"),
    ):
        result, *_ = run(suite, old=base, new=told(worse), hooks=hooks(python=False))
        assert result.verdict == "fail", worse
        failed = {one.invariant for one in result.verdicts if one.verdict == "fail"}
        assert f"{PREFIX}{name}" in failed
    spanish = "Su pedido ha sido enviado hoy y llegará el lunes por la mañana, como usted nos ha pedido."
    texts = Scripted(lambda _: LONG)
    result, *_ = run(suite, old=texts, new=Scripted(lambda r: spanish if number(r) < 20 else LONG))
    assert f"{PREFIX}language" in {one.invariant for one in result.verdicts if one.verdict == "fail"}


def test_few_json_cases_among_others_keep_no_suite_from_passing():
    both = [Scripted(lambda r: '{"a": 1}' if number(r) < 2 else "yes") for _ in range(2)]
    result, *_ = run(suite_of(40, "{length: {chars: {min: 1}}}"), old=both[0], new=both[1], hooks=hooks(python=False))
    held = {one.invariant for one in result.verdicts if one.verdict == "hold"}
    assert f"{PREFIX}form" in held
    assert result.verdict == "pass"


def test_control_s_own_noise_in_keys_is_no_failure():
    random = Random(3)

    def noisy(_request):
        return json.dumps({"id": 1, "note": "x"} if random.random() < 0.6 else {"id": 1})

    result, *_ = run(suite_of(60, "{json: object}"), old=Scripted(noisy), new=Scripted(noisy))
    assert result.verdict != "fail"


def test_reports_name_what_flips_and_let_no_answer_out_of_its_place():
    result, *_ = run(suite_of(12), new=Scripted(lambda r: HOSTILE if number(r) < 9 else "yes"))
    page = reports.page(result, TEMPLATE, title="t", control="old", target="new")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.index("<b>c3</b>") < page.index("<b>c11</b>")
    root = ET.fromstring(reports.junit(result))
    failed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == {f"c{n}" for n in range(9)} | {"the suite"}


@given(st.text(max_size=200), st.text(max_size=200))
def test_marking_differences_loses_no_letter(old, new):
    left, right = reports.marked(old, new)
    assert "".join(text for _, text in left) == old
    assert "".join(text for _, text in right) == new
    assert [text for alone, text in left if not alone] == [text for alone, text in right if not alone]


@given(st.text(), st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=3), st.none() | st.floats(0, 1e6))
def test_an_answer_is_kept_as_it_came(text, calls, latency):
    given_ = Given(text, tuple(ToolCall(*call) for call in calls), "stop", None, 5, latency, None)
    for answer in (RoundAnswer(1, given_), RoundAnswer(0, None, "timeout", text)):
        assert RoundAnswer.from_json(json.loads(json.dumps(answer.to_json()))) == answer


@both_backends
def test_answers_are_kept_in_the_store(world):
    kept = KeptAnswers(world.store.telemetry, world.store.now())
    assert kept.get("k") is None
    kept.put("k", "[1]")
    kept.put("k", "[2]")
    assert kept.get("k") == "[2]"
    world.store.telemetry.purge(before=world.clock.now().replace(year=2100))
    assert kept.get("k") is None


def labels(request, *, of=("low", "high", "mid")):
    return json.dumps({"urgency": of[number(request) % len(of)], "note": f"caller {number(request)} said so"})


def test_a_value_that_control_never_has_fails_where_control_has_but_a_few():
    suite = suite_of(60, "{json: object}")
    base = Scripted(labels)
    result, *_ = run(suite, old=base, new=Scripted(labels), hooks=hooks(python=False))
    assert result.verdict == "pass"
    [verdict] = [one for one in result.verdicts if one.invariant == f"{PREFIX}values of fixed sets"]
    assert (verdict.verdict, verdict.cases) == ("pass", 60)
    shouts = Scripted(lambda r: labels(r, of=("low", "HIGH", "mid")))
    result, *_ = run(suite, old=base, new=shouts, hooks=hooks(python=False))
    assert {one.invariant for one in result.verdicts if one.verdict == "fail"} == {f"{PREFIX}values of fixed sets"}
    assert len(result.verdicts[0].flips) == 20
    [found] = result.observed.sure_formats
    assert (found.feature.path, found.feature.is_so) == ("urgency", "HIGH")
    assert result.observed.examples(found)[0] == "c1"
    page = reports.page(result, TEMPLATE, title="t", control="a", target="b")
    assert "<td><code>urgency</code></td><td><del>&#34;high&#34;</del></td><td><ins>&#34;HIGH&#34;</ins></td>" in page
    assert "flips in every answer: values of fixed sets" in page


def test_what_is_free_text_in_control_is_no_set_of_values():
    """Each case repeats its own note six times over both runs of control: that is no set of six."""
    suite = suite_of(12, "{json: object}")
    old = Scripted(lambda r: json.dumps({"note": f"caller {number(r)} said so"}))
    new = Scripted(lambda r: json.dumps({"note": f"caller {number(r)} told us"}))
    result, *_ = run(suite, old=old, new=new, hooks=hooks(python=False))
    assert f"{PREFIX}values of fixed sets" not in {one.invariant for one in result.verdicts}
    assert result.verdict != "fail"


def test_what_a_suite_waives_is_not_watched_and_said_with_its_reason():
    fenced = Scripted(lambda r: f"```json\n{labels(r)}\n```")
    watch = "watch: {form: {waived: 'our reader takes fences off'}}\n"
    result, *_ = run(suite_of(60, "{json: object, embedded: true}", watch), old=Scripted(labels), new=fenced)
    assert result.waived == {"form": "our reader takes fences off"}
    assert not any(one.invariant == f"{PREFIX}form" for one in result.verdicts)
    assert "our reader takes fences off" in reports.page(result, TEMPLATE, title="t", control="a", target="b")
    with pytest.raises(DocumentInvalid):
        suite_of(1, extra="watch: {tone: {waived: 'x'}}\n")
    with pytest.raises(DocumentInvalid):
        suite_of(1, extra="watch: {form: {}}\n")


NO = "I'm sorry, but I can't help with that request."


def typed(cases, types):
    words = "assert: [{length: {words: {min: 1}}}]"
    lines = [
        f"  - {{id: c{n}, input: 'question {n}', input_type: {types[n % len(types)]}, {words}}}" for n in range(cases)
    ]
    return read_suite(("cases:\n" + "\n".join(lines) + "\n").encode(), "s.yaml")


def test_declining_is_told_and_watched_by_input_type():
    suite = typed(90, ["order", "refund", "other"])
    refuses = Scripted(lambda r: NO if number(r) % 3 == 1 and number(r) < 40 else LONG)
    result, *_ = run(suite, old=Scripted(lambda _: LONG), new=refuses, hooks=hooks(python=False))
    failed = {one.invariant for one in result.verdicts if one.verdict == "fail"}
    assert failed == {f"{PREFIX}does not decline", f"{PREFIX}does not decline, refund"}
    rates = {one["input_type"]: one for one in result.observed.to_json()["refusals"]}
    assert [rates[name]["target"]["refusals"] for name in (None, "order", "refund", "other")] == [13, 0, 13, 0]
    low, high = rates["refund"]["target"]["interval"]
    assert low < 13 / 30 < high
    assert rates["refund"]["change"] == pytest.approx(13 / 30)
    few, *_ = run(typed(30, ["order", "refund"]), hooks=hooks(python=False), old=Scripted(lambda _: LONG))
    assert not any(", refund" in one.invariant for one in few.verdicts), "15 cases are too few by themselves"


def test_json_answers_are_compared_path_by_path():
    old = '{"total": 5, "state": "sent", "lines": [{"id": 1}, {"id": 2}], "note": null, "deep": {"a": 1.0}}'
    new = '```json\n{"total": 5.0, "state": "sent", "lines": [{"id": 1}], "more": "x", "deep": {"a": 1.0}}\n```'
    assert path_changes(old, new) == [
        ("total", "5", "5.0"),
        ("lines[1]", '{"id": 2}', "absent"),
        ("note", "null", "absent"),
        ("more", "absent", '"x"'),
    ]
    assert path_changes("no JSON", new) == path_changes(new, new) == []
    assert path_changes("[1]", '{"a": 1}') == [("the answer", "[1]", '{"a": 1}')]
    long = ["x" * 200 + end for end in "ab"]
    assert len(path_changes(json.dumps({"a": long[0]}), json.dumps({"a": long[1]}))) == 1
    assert len(path_changes(json.dumps(list(range(90))), json.dumps(list(range(1, 91))))) == 20
    nested = "[" * 900 + "1" + "]" * 900
    assert path_changes(nested, nested.replace("1", "2"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_a_json_answer_differs_from_itself_at_no_path(value):
    text = json.dumps(value)
    assert path_changes(text, text) == []
    changes = path_changes(text, json.dumps({"other": value}))
    assert all(change.old != change.new for change in changes)


def test_what_changed_is_said_in_words_with_the_cases_that_show_it():
    longer = Scripted(lambda r: f"# Case {number(r)}\n\n{LONG} {LONG} {LONG}")
    result, *_ = run(suite_of(40, "{length: {words: {min: 1}}}"), old=Scripted(lambda _: LONG), new=longer)
    told = {claim.trait: claim for claim in result.observed.claims}
    assert told["words"].change > 2
    assert told["heading"].after == 1.0
    assert result.verdict == "pass", "it is for people, and decides nothing"
    page = reports.page(result, TEMPLATE, title="t", control="a", target="b")
    assert "answers that have a heading: 0% before, 100% after" in page
    assert '<a href="#c0">c0</a>' in page
    few, *_ = run(suite_of(5), old=Scripted(lambda _: LONG), new=longer)
    assert few.observed.claims == ()
    assert "fewer than 20 claim nothing" in few.observed.changes.held


def recording(folder, name, answers):
    lines = [
        {"prompt": prompt, "answer": answer, "latency_s": 0.1, "prompt_tokens": 5, "completion_tokens": 3}
        for prompt, answer in answers.items()
    ]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def command_in(folder):
    """Return a function that runs the command in a folder, and returns its exit code and both streams."""

    def call(*words):
        command = [sys.executable, "-m", "llmmigrate", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return call


def both_streams(call):
    """Return a function that returns both streams as one, as on a terminal."""

    def together(*words):
        code, out, err = call(*words)
        return code, out + err

    return together


def begun_in(folder):
    """Make a project with a document and a suite of 40 cases; return how to run the command there."""
    call = both_streams(command_in(folder))
    assert call("init", ".")[0] == 0
    models = ("--from", "recorded/old", "--to", "recorded/new")
    assert call("new", "-m", "m", "--route", "r", *models, "-t", "quick")[0] == 0
    [file] = (folder / "migrations" / "versions").glob("*.yaml")
    file.write_text(with_suite(file.read_text()))
    cases = "\n".join(f"  - {{id: c{n}, input: 'q {n}', assert: [{{contains: 'yes'}}]}}" for n in range(40))
    (folder / "regression" / "s.yaml").write_text(f"cases:\n{cases}\n")
    return call


def test_the_command_runs_a_suite_keeps_its_evidence_and_exits_by_it(tmp_path):
    call = command_in(tmp_path)
    assert call("init", ".")[0] == 0
    models = ("--from", "recorded/old", "--to", "recorded/new")
    assert call("new", "-m", "m", "--route", "r", *models, "-t", "quick")[0] == 0
    code, _, err = call("test", "r")
    assert code == 2
    assert "has no suite" in err
    [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")
    text = re.sub(r"(?m)^regression:.*\n(  .*\n)*", "regression: {suite: regression/s.yaml}\n", file.read_text())
    file.write_text(text)
    cases = "\n".join(f"  - {{id: c{n}, input: 'q {n}', assert: [{{contains: 'yes'}}]}}" for n in range(40))
    (tmp_path / "regression" / "s.yaml").write_text(f"cases:\n{cases}\n")
    recording(tmp_path / "recordings", "old", {f"q {n}": "yes" for n in range(40)})
    recording(tmp_path / "recordings", "new", {f"q {n}": "yes" for n in range(40)})
    code, out, err = call("test", "r", "--junit", "s.xml", "--html", "s.html")
    assert code == 0, out + err
    assert (
        "s: 40 cases, 3 times each: up to 120 calls of recorded/new and 240 of recorded/old, which is asked twice"
        in out
    )
    assert "what 240 of the calls of recorded/old cost is not known: the cost map of LiteLLM" in out
    assert "at most $" not in out
    assert "360 calls" in out
    assert "pass: none of 2 invariants got worse" in out
    assert ET.parse(tmp_path / "s.xml").getroot().get("failures") == "0"
    assert "c39" in (tmp_path / "s.html").read_text()
    recording(tmp_path / "recordings", "new", {f"q {n}": "yes" if n > 9 else "no" for n in range(40)})
    code, out, _ = call("test", "r", "--format", "json")
    assert code == 0, "answers are kept"
    told = json.loads(out)
    assert told["kept"] == told["before"]["kept"] == 360
    assert (told["before"]["calls"], told["before"]["cost_at_most_usd"]) == (0, 0)
    code, out, _ = call("test", "r", "--fresh")
    assert code == 5
    assert "flips  c0 (line 2) in invariant: contains" in out
    assert "What changed beyond chance, one answer a case of 40:" in out
    assert 'answers that open with "no": 0% before, 25% after' in out
    (tmp_path / "regression" / "s.yaml").write_text("cases:\n  - {id: c, inputs: x}\n")
    code, _, err = call("test", "r")
    assert code == 6
    assert "s.yaml:2" in err
    for wrong in (("--max-cost", "lots"), ("--repeat", "0"), ("--at-once", "0")):
        assert call("test", "r", *wrong)[0] == 2


@both_backends
def test_the_latest_run_on_a_document_is_its_evidence(world):
    for number, answer in enumerate(("fail", "pass")):
        world.clock.advance(60)
        put_run(world.store.telemetry, RegressionRun("r", "a", world.clock.now(), "d", f"s{number}", answer, {"n": 1}))
    put_run(world.store.telemetry, RegressionRun("r", "a", world.clock.now(), "other", "s", "fail", {}))
    with world.store.telemetry.reading() as connection:
        found = latest_run(connection, "r", "d")
        assert (found.answer, found.suite_hash, found.body) == ("pass", "s1", {"n": 1})
        assert latest_run(connection, "r", "none") is None


def with_suite(text):
    return re.sub(r"(?m)^regression:.*\n(  .*\n)*", "regression: {suite: regression/s.yaml}\n", text)


def shown(world, answer, *, suite="s1", document=None, reason="because", failed=()):
    state = world.store.route(ROUTE)
    body = {"reason": reason, "invariants": [{"invariant": name, "verdict": "fail"} for name in failed]}
    run = RegressionRun(ROUTE, state.revision, world.clock.now(), document or state.document_hash, suite, answer, body)
    put_run(world.store.telemetry, run)


@pytest.fixture
def due(world):
    """A route whose attempt waits for its suite."""
    (world.folder / "regression").mkdir(exist_ok=True)
    (world.folder / "regression" / "s.yaml").write_text("cases: []\n")
    world.write(with_suite)
    assert waits(world.upgrade()).startswith("the regression suite has not been run on this document: llmmigrate test")
    return world


def waits(result):
    assert result.last.state.phase == "regression"
    return result.last.wait.reasons[0].detail


def test_no_traffic_begins_before_the_suite_passes_on_this_very_document(due):
    shown(due, "pass", document="another")
    assert "has not been run" in waits(due.upgrade())
    due.clock.advance(1)
    shown(due, "hold", reason="too few cases")
    assert waits(due.upgrade()) == "the regression suite holds: too few cases"
    due.clock.advance(1)
    shown(due, "fail", reason="3 cases flip")
    result = due.upgrade()
    assert waits(result) == "the regression suite fails: 3 cases flip"
    assert result.exit_code == 5
    due.clock.advance(1)
    shown(due, "fail", reason="3 cases flip", failed=("tone", "facts"))
    assert waits(due.upgrade()) == "the regression suite fails: 3 cases flip (failed: tone, facts)"
    due.clock.advance(1)
    shown(due, "pass")
    assert due.upgrade().last.state.phase == "shadow"


def test_a_suite_is_due_where_it_has_to_be_run_and_not_where_people_or_its_failure_are_waited_for(due):
    assert [one.about_suite for one in due.upgrade().last.wait.reasons][:1] == [True]
    shown(due, "fail")
    assert not any(one.about_suite for one in due.upgrade().last.wait.reasons)
    due.clock.advance(1)
    shown(due, "pass")
    waits_for_people = due.upgrade(to="regression").last.wait.reasons
    assert not any(one.about_suite for one in waits_for_people)


def test_a_run_is_evidence_for_two_weeks(due):
    shown(due, "pass")
    due.clock.advance(14 * 86400 + 1)
    assert "was run 14 d" in waits(due.upgrade())


def test_another_suite_than_was_run_shows_nothing(due):
    shown(due, "pass", suite="old")
    assert "is no longer the one that was run" in waits(due.upgrade(suites=lambda _: "new"))

    held = due.upgrade(suites=unreadable)
    assert waits(held) == (
        "the regression suite cannot be read: s.yaml:1:1: cases: no cases (and 1 more: llmmigrate check)"
    )
    assert held.exit_code == 6
    assert due.upgrade(suites=lambda _: "old").last.state.phase == "shadow"


def unreadable(_document):
    raise DocumentInvalid([Problem("s.yaml", line, 1, "cases", "no cases") for line in (1, 2)])


def test_nothing_begins_on_a_suite_that_cannot_be_read(world):
    (world.folder / "regression").mkdir(exist_ok=True)
    (world.folder / "regression" / "s.yaml").write_text("cases: []\n")
    revision = world.write(with_suite)
    with pytest.raises(DocumentInvalid):
        preview(world.store, world.graph(), ROUTE, revision, suites=unreadable)
    with pytest.raises(DocumentInvalid):
        world.upgrade(suites=unreadable)
    assert world.store.history(ROUTE) == []


def edit(world, old, new):
    file = next(world.config.versions.glob("*.yaml"))
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return world.graph().head(ROUTE)


@both_backends
def test_after_a_failed_suite_another_target_is_repaired_and_shown_anew(due):
    shown(due, "fail")
    revision, generation = due.store.route(ROUTE).revision, due.store.route(ROUTE).generation
    document = edit(due, "fake/new", "fake/newer")
    assert due.upgrade().exit_code == 6
    state = requested.repair(due.store, ROUTE, document, actor="maria", reason="it failed")
    assert (state.revision, state.generation, state.phase) == (revision, generation, "regression")
    assert "fake/newer" not in state.snapshot
    assert [("fake/newer" in row["document"]) for row in due.store.history(ROUTE)] == [False, True]
    assert waits(due.upgrade()).startswith("the regression suite has not been run on this document")
    assert broken(due.store) == []
    due.clock.advance(1)
    shown(due, "pass")
    assert '"fake/newer"' in due.upgrade().last.state.snapshot


def test_what_was_served_or_mirrored_once_is_not_repaired(due):
    shown(due, "pass")
    assert due.upgrade().last.state.phase == "shadow"
    requested.step_back(due.store, ROUTE, "regression", actor="t", reason="look again")
    document = edit(due, "fake/new", "fake/newer")
    with pytest.raises(RefusedError, match=r"target of .* was edited") as refused:
        requested.repair(due.store, ROUTE, document, actor="t", reason="x")
    for command in ("downgrade", "repair", "upgrade"):
        assert f"llmmigrate {command}" in refused.value.hint


def test_control_is_not_repaired_while_the_suite_is_waited_for(due):
    document = edit(due, "fake/old", "fake/older")
    with pytest.raises(RefusedError, match=r"current of .* was edited"):
        requested.repair(due.store, ROUTE, document, actor="t", reason="x")


def test_upgrade_runs_the_suite_where_it_may(tmp_path):
    call = begun_in(tmp_path)
    for name in ("old", "new"):
        recording(tmp_path / "recordings", name, {f"q {n}": "yes" for n in range(40)})
    suite = (tmp_path / "regression" / "s.yaml").read_text()
    for harm in (lambda file: file.write_text(suite.replace("input:", "inputs:")), lambda file: file.unlink()):
        harm(tmp_path / "regression" / "s.yaml")
        for options in ((), ("--dry-run",)):
            code, out = call("upgrade", "r", *options)
            assert (code, "regression/s.yaml:" in out, "document" in out) == (6, True, False), out
    (tmp_path / "regression" / "s.yaml").write_text(suite)
    code, out = call("upgrade", "r")
    assert code == 3
    assert "the regression suite has not been run" in out
    (tmp_path / "regression" / "s.yaml").write_text(suite.replace("input:", "inputs:"))
    code, out = call("upgrade", "r", "--yes")
    assert (code, "Keep it moving" in out) == (6, False)
    assert call("status", "r")[1].count("inputs") == 1
    (tmp_path / "regression" / "s.yaml").write_text(suite)
    assert "The suite has 40 cases, asked 3 times" in call("plan", "r", "--rps", "2")[1]
    code, out = call("upgrade", "r", "--yes")
    assert code == 3, out
    assert "pass: none of 2 invariants got worse" in out
    assert "regression → shadow" in out


def test_a_failed_suite_says_what_to_do(tmp_path):
    call = begun_in(tmp_path)
    for name, word in (("old", "yes"), ("new", "no"), ("newer", "yes")):
        recording(tmp_path / "recordings", name, {f"q {n}": word for n in range(40)})
    for command in (("upgrade", "r", "--yes"), ("upgrade", "r"), ("status", "r")):
        code, out = call(*command)
        assert code == (0 if command[0] == "status" else 5), out
        assert "the regression suite fails: " in out
        assert "llmmigrate test r --html" in out
        assert "Keep it moving" not in out
    [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")
    file.write_text(file.read_text().replace("recorded/new", "recorded/newer"))
    assert call("upgrade", "r")[0] == 6
    assert call("repair", "r", "--reason", "another model")[0] == 0
    code, out = call("upgrade", "r", "--yes")
    assert (code, "regression → shadow" in out) == (3, True), out


def test_check_reads_suites_and_holds_their_requests_against_providers(tmp_path):
    call = both_streams(command_in(tmp_path))
    call("init", ".")
    models = ("--from", "openai/gpt-4.1", "--to", "anthropic/claude-sonnet-4-5-20250929")
    call("new", "-m", "m", "--route", "r", *models)
    [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")
    file.write_text(with_suite(file.read_text()))
    suite = tmp_path / "regression" / "s.yaml"
    suite.write_text("cases:\n  - {id: a, inputs: x}\n")
    code, out = call("check")
    assert code == 6
    assert "SUI-01" in out
    assert "regression/s.yaml:2" in out
    suite.write_text("cases:\n  - {id: a, input: x, params: {logit_bias: {'50256': -100}}}\n")
    code, out = call("check")
    assert "ANT-10" in out
    assert "regression/s.yaml:2" in out


def test_a_draft_is_a_suite_that_loads(tmp_path):
    call = both_streams(command_in(tmp_path))
    call("init", ".")
    call("new", "-m", "m", "--route", "r", "--from", "recorded/old", "--to", "recorded/new", "-t", "quick")
    code, out = call("draft", "r")
    assert code == 1
    call("upgrade", "r")
    code, out = call("draft", "r")
    assert (code, "no texts of r were kept" in out) == (2, True)
    lines = [{"messages": [{"role": "user", "content": f"What is {n} + 1?"}], "expected": str(n + 1)} for n in range(3)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    code, out = call("draft", "r", "--from", "p.jsonl")
    assert code == 0, out
    assert "3 cases" in out
    assert "passes from 29 cases on" in out
    assert "the 3 of this one are too few" in out
    assert "{suite: regression/r.yaml}" in out
    assert len(load_suite(tmp_path / "regression" / "r.yaml").cases) == 3
    code, out = call("draft", "r", "--from", "p.jsonl")
    assert (code, "is not written over" in out) == (2, True)
    (tmp_path / "f.yaml").write_text(
        "prompts: ['Answer: {{q}}']\nproviders: [openai:gpt-4.1]\n"
        "tests:\n  - vars: {q: hello}\n    assert: [{type: icontains, value: hi}]\n"
    )
    code, out = call("draft", "r", "--from", "f.yaml", "-o", "own.yaml")
    assert code == 0, out
    assert len(load_suite(tmp_path / "own.yaml").cases) == 1
    assert call("draft", "r", "--from", "none.jsonl", "-o", "x.yaml")[0] == 2
    code, out = call("draft", "r", "--from", "p.jsonl", "-o", "../x.yaml")
    assert (code, "is outside of the project" in out, (tmp_path.parent / "x.yaml").exists()) == (2, True, False)


@both_backends
def test_answers_of_another_week_are_asked_anew(world):
    now = world.store.now()
    KeptAnswers(world.store.telemetry, now - timedelta(days=3)).put("old", "[1]")
    KeptAnswers(world.store.telemetry, now - timedelta(days=1)).put("new", "[2]")
    later = KeptAnswers(world.store.telemetry, now)
    assert (later.get("old"), later.get("new")) == (None, "[2]")
    assert KeptAnswers(world.store.telemetry, now, fresh=timedelta(0)).get("new") is None
