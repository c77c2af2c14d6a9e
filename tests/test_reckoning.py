"""Before a suite runs it says how many calls it makes and what they cost at most, and it never costs more."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmmigrate.document.model import Limits
from llmmigrate.models import Clients, Completion, ModelClient, Usage, costmap, pricing
from llmmigrate.models.tokens import counter_for
from llmmigrate.regression.asking import Side, first_messages, request_of
from llmmigrate.regression.assertions import Hooks
from llmmigrate.regression.pacing import TAKEN
from llmmigrate.regression.reckoning import CALLS, FRAME_TOKENS, reckon
from llmmigrate.regression.running import run_suite
from llmmigrate.regression.suite import read_suite
from tests.providers import Model, serving
from tests.test_images import part

pytestmark = pytest.mark.xdist_group("litellm")

OLD, NEW = "openai/gpt-4o", "openai/gpt-4.1-mini"
CLAUDE = "anthropic/claude-haiku-4-5"
CONTROL, TARGET = Side(OLD, {"max_tokens": 100}), Side(NEW, {"max_tokens": 200}, system="Be brief.")


def suite_of(*cases):
    written = {"cases": [{"id": f"c{number}", **case} for number, case in enumerate(cases)]}
    return read_suite(json.dumps(written, ensure_ascii=False).encode(), "s.yaml")


def reckoned(suite, control=CONTROL, target=TARGET, repetitions=3, answers=None):
    return reckon(suite, control=control, target=target, repetitions=repetitions, answers=answers)


class Longest(ModelClient):
    """Answer as long as is allowed, at the price of the cost map; count prompts by the model's own tokenizer."""

    def __init__(self):
        self.calls = 0

    async def complete(self, request):
        self.calls += 1
        counted = await counter_for(request.model, environ={}).count(request)
        usage = Usage(counted, request.params["max_tokens"])
        price = pricing.cost_usd(request.model, usage)
        return Completion(request.model, "word " * usage.completion_tokens, usage, 0.1, cost_usd=price)


def run(suite, answers=None, **options):
    return asyncio.run(
        run_suite(
            suite,
            control=CONTROL,
            target=TARGET,
            clients=Clients({"openai": Longest()}),
            repetitions=3,
            answers=answers,
            hooks=Hooks(),
            **options,
        )
    )


TURNS = [{"user": "Hello, who is there?"}, {"user": "Größe M, naïve café — 東京 🙂"}, {"user": "And now?"}]


def test_a_run_asks_no_more_and_costs_no_more_than_was_said():
    suite = suite_of(*({"input": f"question {n}"} for n in range(5)), {"turns": TURNS, "repetitions": 2})
    told = reckoned(suite)
    assert told.unknown == []
    assert (told.target.calls, told.control.calls) == (5 * 3 + 3 * 2, 2 * (5 * 3 + 3 * 2))
    result = run(suite)
    assert result.spent.calls == told.calls
    assert 0 < result.spent.cost <= told.at_most_usd < 20 * result.spent.cost


def test_answers_that_are_kept_are_left_out():
    suite = suite_of(*({"input": f"question {n}"} for n in range(6)))
    whole, kept = reckoned(suite), Kept()
    run(suite, answers=kept, max_cost=whole.at_most_usd / 50, at_once=1)
    rest = reckoned(suite, answers=kept)
    assert 0 < rest.kept < whole.calls
    assert rest.calls + rest.kept == whole.calls
    assert 0 < rest.at_most_usd < whole.at_most_usd
    result = run(suite, answers=kept)
    assert (result.spent.calls, result.spent.kept) == (rest.calls, rest.kept)
    assert result.spent.cost <= rest.at_most_usd
    done = reckoned(suite, answers=kept)
    assert (done.calls, done.at_most_usd) == (0, 0)
    assert reckoned(suite, target=Side(NEW, {"max_tokens": 201}), answers=kept).target.kept == 0
    kept[next(iter(kept))] = "not JSON"
    assert reckoned(suite, answers=kept).calls == 1


class Kept(dict):
    put = dict.__setitem__


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=200)


@settings(max_examples=40)
@given(said=st.lists(TEXT, min_size=1, max_size=4), described=TEXT, model=st.sampled_from([OLD, NEW, "openai/gpt-5"]))
def test_no_text_has_more_tokens_than_are_reckoned_with(said, described, model):
    tool = {"name": "f", "description": described, "parameters": {"type": "object", "properties": {}}}
    suite = suite_of({"messages": [{"role": "user", "content": one} for one in said], "tools": [tool]})
    side = Side(model, {"max_tokens": 10})
    [case] = suite.cases
    tokens = asyncio.run(counter_for(model, environ={}).count(request_of(case, side, first_messages(case))))
    assert reckoned(suite, side, side, 1).at_most_usd >= 3 * pricing.cost(costmap.facts(model), Usage(tokens, 10))


def bound(case, params, model=OLD):
    """Return the bound of one answer to a case."""
    suite = suite_of(case)
    return reckoned(suite, Side(model, params), Side(model, params), 1).at_most_usd / 3


def test_what_makes_a_call_dearer_is_in_its_bound():
    facts, plain = costmap.facts(OLD), {"input": "hello"}
    hundred = bound(plain, {"max_tokens": 100})
    assert bound(plain, {"max_tokens": 300}) - hundred == pytest.approx(200 * facts.output_cost)
    assert bound(plain, {"max_tokens": 100, "n": 3}) - hundred == pytest.approx(200 * facts.output_cost, rel=0.05)
    assert bound(plain, {}) > facts.max_output_tokens * facts.output_cost
    long = bound({"input": "x" * 900_000}, {"max_tokens": 100})
    assert long == pytest.approx(facts.max_input_tokens * facts.input_cost + 100 * facts.output_cost)
    with_system = bound({**plain, "system": "x" * 10_000}, {"max_tokens": 100})
    assert with_system - hundred == pytest.approx(10_000 * facts.input_cost, rel=0.01)
    assert hundred > FRAME_TOKENS * facts.input_cost + 100 * facts.output_cost
    points = {"cache_control_injection_points": [{"location": "message", "role": "system"}]}
    long, ask = {"input": "x" * 50_000}, {"max_tokens": 10}
    assert bound(long, {**ask, **points}, CLAUDE) > 1.2 * bound(long, ask, CLAUDE)


def test_a_round_reckons_with_the_answers_and_results_before_it():
    facts, three = costmap.facts(OLD), {"turns": TURNS}
    longer, shorter = (bound(three, {"max_tokens": one}) for one in (1000, 100))
    assert longer - shorter == pytest.approx(900 * (3 * facts.output_cost + (0 + 1 + 2) * facts.input_cost), rel=0.01)
    tool = {"name": "find", "parameters": {"type": "object", "properties": {}}}
    turns = [{"user": "Where?"}, {"tool_results": {"find": "x" * 1000}}]
    one, two = {"turns": turns[:1], "tools": [tool]}, {"turns": turns, "tools": [tool]}
    alone, both = (bound(case, {"max_tokens": 100}) for case in (one, two))
    assert both - 2 * alone > (CALLS * 1000 + 100) * facts.input_cost
    assert reckoned(suite_of(two)).calls_tools
    assert reckoned(suite_of(two)).to_json()["tool_calls_at_most"] == CALLS
    assert not reckoned(suite_of(one)).calls_tools
    fixed = [{"user": "Where?", "assistant": "Which order?"}, {"user": "1234"}]
    assert not reckoned(suite_of({"turns": fixed, "tools": [tool]})).calls_tools


def test_a_price_that_nobody_knows_is_said_to_be_unknown():
    told = reckoned(suite_of({"input": "a"}, {"input": "b"}), target=Side("openai/own-model", {"max_tokens": 5}))
    assert told.at_most_usd is None
    assert told.unpriced
    assert told.known_usd > 0
    [words] = told.unknown
    assert words.startswith("what 6 of the calls of openai/own-model cost is not known: the cost map of LiteLLM")
    assert told.to_json()["cost_at_most_usd"] is None


def test_images_are_reckoned_by_rule_and_unknown_where_none_is_published():
    def asks(image):
        return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]}

    seen = bound(asks(part(1024, 1024)), {"max_tokens": 5})
    assert seen - bound(asks({"type": "text", "text": ""}), {"max_tokens": 5}) > 700 * costmap.facts(OLD).input_cost
    away = reckoned(suite_of(asks(part(url="https://example.com/a.png")), {"input": "b"}), repetitions=1)
    assert away.known_usd > 0
    assert not away.unpriced
    assert [line.partition(" cost ")[0] for line in away.unknown] == [
        f"what 1 of the calls of {NEW}",
        f"what 2 of the calls of {OLD}",
    ]
    told = reckoned(suite_of(asks(part(5, 5))), target=Side(CLAUDE, {"max_tokens": 5}))
    assert "images and files are not known before it counts them" in told.unknown[0]


def test_what_limits_make_of_the_time_is_known_before():
    suite = suite_of(*({"input": f"question {n}"} for n in range(10)))
    assert reckoned(suite).least_s == 0
    slow = Side(OLD, {}, limits=Limits(rpm=60))
    assert reckoned(suite, control=slow).least_s == pytest.approx(59 / (60 * TAKEN) * 60)
    both = reckoned(suite, control=slow, target=Side(OLD, {"max_tokens": 5}))
    assert both.least_s == pytest.approx(89 / (60 * TAKEN) * 60)  # one account
    assert (both.open_ended, both.target.open_ended) == (60, 0)


async def command(folder, *words):
    asked = (sys.executable, "-m", "llmmigrate", *words)
    pipe = asyncio.subprocess.PIPE
    done = await asyncio.create_subprocess_exec(*asked, cwd=folder, stdout=pipe, stderr=pipe)
    out, err = await done.communicate()
    return done.returncode, out.decode(), err.decode()


def test_the_command_says_it_first_and_it_agrees_with_the_ceiling(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    async def story():
        async with serving(model=Model(prompt=20, completion=10)) as server:
            await command(tmp_path, "init", ".")
            await command(tmp_path, "new", "-m", "m", "--route", "r", "--from", OLD, "--to", NEW)
            [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")
            text = re.sub(
                r"(?m)^regression:.*\n(  .*\n)*", "regression: {suite: regression/s.yaml}\n", file.read_text()
            )
            text = re.sub(r"(?m)^(  model: .*)\n", rf"\1\n  api_base: {server.url}/v1\n", text)
            file.write_text(text)
            cases = [{"id": f"c{n}", "input": f"q {n}", "assert": [{"contains": "Paris"}]} for n in range(20)]
            (tmp_path / "regression" / "s.yaml").write_text(json.dumps({"cases": cases}))
            return [
                await command(tmp_path, "test", "r", "--max-cost", "$0.002", "--at-once", "1"),
                await command(tmp_path, "test", "r", "--format", "json", "--max-cost", "50"),
                await command(tmp_path, "test", "r"),
                await command(tmp_path, "test", "r", "--fresh", "--max-cost", "50"),
            ]

    stopped, rest, again, fresh = asyncio.run(story())
    assert stopped[0] == 3, stopped
    lines = stopped[1].splitlines()
    assert lines[0] == f"s: 20 cases, 3 times each: up to 60 calls of {NEW} and 120 of {OLD}, which is asked twice"
    assert re.fullmatch(r"at most \$\d+\.\d\d by the prices of LiteLLM [\d.]+", lines[1])
    assert lines[2] == "no answer has max_tokens: reckoned as long as the models can write"
    assert lines[3].startswith("no more is asked once $0.002 is spent (--max-cost)")
    told = json.loads(rest[1])
    assert told["before"]["kept"] == told["kept"] > 0
    assert told["before"]["calls"] == told["calls"] == 180 - told["kept"]
    assert 0 < told["cost_usd"] <= told["before"]["cost_at_most_usd"] < told["before"]["max_cost_usd"] == 50
    assert told["before"]["unknown"] == []
    assert again[1].splitlines()[0] == "s: 20 cases, 3 times each: all 180 answers are kept from an earlier run"
    assert fresh[1].splitlines()[3] == "that is within --max-cost $50.00"
