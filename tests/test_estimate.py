"""What prompts are to both models: in tokens of each, in dollars, against limits; or not known, and then it says so."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.cli import estimating
from llmmigrate.document import load_text
from llmmigrate.exceptions import ModelError, RefusedError
from llmmigrate.foresight.estimate import FEWEST_ANSWERS, estimate
from llmmigrate.foresight.estimated import FEWEST_TO_PROJECT, MONTH_S, Prompt
from llmmigrate.foresight.prompts import read_prompts
from llmmigrate.models import costmap, pricing
from llmmigrate.models.base import Usage
from llmmigrate.models.tokens import TokenCounter, Unknown
from tests.test_document import EXAMPLE

OLD, NEW = "openai/gpt-4o", "openai/gpt-4.1-mini"


def document(current=OLD, target=NEW, edit=lambda text: text):
    """Return the example document with other models."""
    found = load_text(EXAMPLE, "d.yaml").migration
    text = EXAMPLE.replace(found.current.model, current, 1).replace(found.target.model, target, 1)
    return load_text(edit(text), "own.yaml")


class Words(TokenCounter):
    """Count a word as some tokens, and a message as none; fail on some."""

    def __init__(self, each=1, fails=""):
        self.each, self.fails = each, fails
        self.source = f"{each} a word"
        self.closed = False

    async def count(self, request):
        text = " ".join(str(message.get("content")) for message in request.sent_messages())
        if self.fails and self.fails in text:
            raise ModelError("bad_request", "it cannot be counted")
        await asyncio.sleep(0)
        return self.each * len(text.split()) + 100 * len(request.tools)

    async def close(self):
        self.closed = True


def prompt(words=10, **known):
    return Prompt([{"role": "user", "content": " ".join(["word"] * words)}], place=f"p.jsonl:{words}", **known)


def estimated(prompts, *, control=None, target=None, own=None, **options):
    counters = {"current": control or Words(), "target": target or Words()}
    return estimate(own or document(), prompts, counters=counters, **options)


def test_each_model_counts_in_its_own_tokens_and_is_charged_its_own_price():
    prompts = [prompt(10, output_tokens=5), prompt(30, output_tokens=15)]
    found = estimated(prompts, target=Words(2), per_second=2)
    assert (found.control.input_mean, found.control.output_mean) == (20, 10)
    assert (found.target.input_mean, found.target.output_mean) == (40, 20)
    assert found.ratio == 2
    facts = costmap.facts(NEW)
    assert found.target.cold == pytest.approx(pricing.cost(facts, Usage(40, 20)))
    assert found.month(found.target.cold) == pytest.approx(found.target.cold * 2 * MONTH_S)
    assert found.change == pytest.approx(found.target.cold / found.control.cold - 1)
    assert found.unknown == []
    assert any("TOK-01: the same prompts are 100% more tokens" in line for line in found.warnings)
    assert found.assumed == ("answers of the target are as long as control's, in its own tokens",)


def test_what_is_projected_is_the_mean_of_enough_answers():
    found = estimated([prompt(10, output_tokens=5), prompt(30, output_tokens=15)] * (FEWEST_TO_PROJECT // 2))
    assert found.projection() == {"cost_per_request": found.target.warm, "tokens_per_request": 30}
    few = estimated([prompt(10, output_tokens=5)] * (FEWEST_TO_PROJECT - 1) + [prompt(10)])
    assert few.unknown == []
    with pytest.raises(RefusedError, match="99 prompts with an answer are too few to project from"):
        few.projection()


def test_prompts_without_an_answer_cost_as_if_they_had_the_mean_one():
    known = [prompt(10, output_tokens=4), prompt(10, output_tokens=8)] * (FEWEST_ANSWERS // 2)
    found = estimated([*known, *[prompt(20_000)] * 70], per_second=1)
    facts = costmap.facts(NEW)
    each = [*[pricing.cost(facts, Usage(10, 6))] * 30, *[pricing.cost(facts, Usage(20_000, 6))] * 70]
    assert found.target.cold == pytest.approx(sum(each) / 100)
    assert (found.control.output_mean, found.target.output_mean) == (6, 6)
    assert "answers are known for 30 of 100: the others are as long on average" in found.assumed
    assert (found.answered, found.unknown, found.to_json()["answers_known"]) == (30, [], 30)


@pytest.mark.parametrize("answered", [1, FEWEST_ANSWERS - 1])
def test_too_few_answers_say_nothing_of_the_others(answered):
    found = estimated([prompt(1, answer="Hello")] * answered + [prompt(20_000)] * 99, per_second=1)
    assert found.unknown == [
        f"answers are known for {answered} of {answered + 99} prompts: too few to say how long the others are. "
        "It takes 30, or all of them"
    ]
    assert (found.target.cold, found.control.cold, found.shadow_cost, found.assumed) == (None, None, None, ())
    assert {need.tokens for need in found.needs} == {None}
    assert found.target.input_mean > 10_000


def test_an_answer_that_was_recorded_is_counted_by_both():
    found = estimated([prompt(10, answer="one two three")], target=Words(3))
    assert (found.control.output_mean, found.target.output_mean) == (3, 7)
    assert found.assumed == ()


@pytest.mark.parametrize(
    ("prompts", "options", "words"),
    [
        ([prompt(output_tokens=5)], {"target": Unknown("it has none")}, "it has none"),
        ([prompt(output_tokens=5)], {"control": Unknown("it has none")}, "it has none"),
        ([prompt(output_tokens=5), prompt(7, output_tokens=5)], {"target": Words(fails="word")}, "cannot be counted"),
        ([prompt()], {}, "nothing is known of the answers"),
        ([prompt(output_tokens=5)], {"own": document(target="openai/own-model")}, "no prices of it"),
    ],
)
def test_what_is_not_known_is_not_guessed(prompts, options, words):
    found = estimated(prompts, per_second=2, **options)
    assert any(words in line for line in found.unknown)
    with pytest.raises(RefusedError, match="nothing can be projected"):
        found.projection()
    assert found.shadow_cost is None or "target" not in options


def test_a_few_prompts_that_cannot_be_counted_leave_the_estimate_open():
    odd = Prompt([{"role": "user", "content": "odd one"}], place="p:9", output_tokens=1)
    found = estimated([prompt(output_tokens=5), odd], target=Words(fails="odd"))
    assert found.target.failed == 1
    assert found.target.input_mean == 10
    assert found.unknown == [f"{NEW}: 1 prompt could not be counted: it cannot be counted (p:9)"]
    assert found.to_json()["target"]["failures"] == [{"prompts": 1, "why": "it cannot be counted", "place": "p:9"}]


def test_what_does_not_fit_with_its_longest_answer_is_named():
    context = costmap.facts(OLD).max_input_tokens
    own = document(OLD, OLD.replace("4o", "4o-mini"), lambda text: text)
    limit = int(own.migration.target.params.get("max_tokens", 0))
    prompts = [
        Prompt(prompt(context - limit).messages, place="a", output_tokens=1),
        Prompt(prompt(context + 1).messages, place="b", output_tokens=1),
    ]
    found = estimated(prompts, own=own)
    assert found.target.overflows == ("b",)
    assert any(line.startswith("CTX-01: 1 prompt does not fit") for line in found.warnings)
    assert found.to_json()["target"]["overflow_places"] == ["b"]


def test_a_cache_makes_a_request_cheaper_where_it_is_warm():
    found = estimated([prompt(100, output_tokens=10, cached_tokens=80)])
    assert found.control.warm < found.control.cold
    assert found.target.warm < found.target.cold
    assert any("its cache is cold whenever its share grows" in line for line in found.warnings)
    assert "the target finds the same part" in found.assumed[-1]


def test_limits_a_minute_are_told_for_each_stage_and_for_the_way_back():
    found = estimated([prompt(10, output_tokens=10)], per_second=2, peak=3)
    needs = {need.stage: need for need in found.needs}
    assert needs["shadow"].requests == needs["rollback"].requests == 360
    assert needs["canary:5"].requests == pytest.approx(18)
    assert needs["canary:5"].tokens == pytest.approx(18 * 20)
    assert needs["rollback"].model == OLD
    assert estimated([prompt(10, output_tokens=10)]).needs == ()


def limited(side, limits, edit=lambda text: text):
    return document(edit=lambda text: edit(text.replace(f"\n{side}:", f"\n{side}:\n  limits: {limits}", 1)))


def no_shadow(text):
    head, _, rest = text.partition("\nshadow:")
    return head + "\nshadow: {waived: a test}\n" + rest[rest.index("canary:") :]


def quotas(found):
    return [line for line in found.warnings if line.startswith("QUOTA-01")]


def test_a_need_above_a_declared_limit_is_told_with_the_stage_where_it_is_first_exceeded():
    some = [prompt(10, output_tokens=10)]  # 20 tokens a request
    found = estimated(some, per_second=2, peak=3, own=limited("target", "{rpm: 100}", no_shadow))
    [line] = quotas(found)
    assert "from canary:50 on" in line
    assert "180 requests a minute, more than the 100 that target.limits.rpm declares" in line
    told = {need["stage"]: need for need in found.to_json()["needs"]}
    assert [stage for stage, need in told.items() if need["exceeded"]] == ["canary:50", "canary:100", "observation"]
    assert told["canary:50"]["limits"] == {"rpm": 100, "tpm": None}
    assert told["rollback"]["limits"] is None
    assert quotas(estimated(some, per_second=2, own=limited("target", "{rpm: 120}", no_shadow))) == []
    assert "from shadow on" in quotas(estimated(some, per_second=2, own=limited("target", "{rpm: 119}")))[0]


def test_control_must_take_all_traffic_again_after_a_rollback():
    some = [prompt(10, output_tokens=10)]
    [line] = quotas(estimated(some, per_second=2, own=limited("current", "{rpm: 120, tpm: 2399}")))
    assert "after a rollback" in line
    assert "2,400 tokens a minute, more than the 2,399 that current.limits.tpm declares" in line
    assert quotas(estimated(some, per_second=2, own=limited("current", "{rpm: 120, tpm: 2400}"))) == []


def test_a_limit_of_tokens_is_not_held_against_a_guess():
    own = limited("target", "{tpm: 1}")
    found = estimated([prompt(10)], target=Unknown("no tokenizer"), per_second=2, own=own)
    assert quotas(found) == []
    assert found.unknown


def test_shadow_costs_what_it_mirrors_and_what_it_asks_again():
    def edit(text):
        return text.replace("shadow:", "shadow:\n  aa_share: 10%", 1)

    own = document(edit=edit) if "aa_share" not in EXAMPLE else document()
    found = estimated([prompt(10, output_tokens=10)], per_second=2, own=own)
    shadow = own.migration.shadow
    each = found.target.cold + shadow.aa_share * found.control.cold
    assert found.shadow_cost == pytest.approx(each * 2 * shadow.duration)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.floats(0.01, 1))
def test_a_quantile_is_one_of_the_prompts(sizes, q):
    found = estimated([prompt(size, output_tokens=1) for size in sizes]).control
    assert found.input_quantile(q) in sizes
    assert sum(size <= found.input_quantile(q) for size in sizes) >= q * len(sizes)


def test_progress_is_told_and_counters_are_closed():
    counters, told = {"current": Words(), "target": Words()}, []
    estimate(
        document(),
        [prompt(output_tokens=1)] * 3,
        counters=counters,
        watch=lambda done, total: told.append((done, total)),
    )
    assert sorted(told) == [(number, 6) for number in range(1, 7)]
    assert all(counter.closed for counter in counters.values())


CAPTURED = [
    {
        "messages": [{"role": "user", "content": "Where is my order?"}],
        "response": {
            "choices": [{"message": {"role": "assistant", "content": "It will be there tomorrow."}}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}},
        },
    },
    {"messages": [{"role": "user", "content": "Please refund me."}], "response": "I have done so."},
    {"request": {"messages": [{"role": "user", "content": "Hello"}]}, "response": {"body": {"usage": {"x": 1}}}},
]


def test_prompts_are_captured_requests_with_what_is_known_of_their_answers(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, CAPTURED)) + "\nnot json\n")
    prompts, wrong = read_prompts(file)
    assert [(one.output_tokens, one.cached_tokens, one.answer) for one in prompts] == [
        (7, 4, "It will be there tomorrow."),
        (None, None, "I have done so."),
        (None, None, None),
    ]
    assert wrong == ["p.jsonl:4: not valid JSON"]
    file.write_text("{}\n")
    with pytest.raises(RefusedError, match="it has no messages"):
        read_prompts(file)


def test_the_command_estimates_writes_the_projection_and_exits_by_what_is_known(tmp_path):
    def call(*words):
        done = subprocess.run(
            [sys.executable, "-m", "llmmigrate", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ANTHROPIC_API_KEY": ""},
        )
        return done.returncode, done.stdout, done.stderr

    assert call("init", ".")[0] == 0
    models = ("--from", OLD, "--to", NEW)
    assert call("new", "-m", "m", "--route", "r", *models)[0] == 0
    [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")
    untouched = file.read_text()
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, CAPTURED[:2])) + "\n")
    code, _, err = call("estimate", "r", "--prompts", "few.jsonl", "--write")
    assert (code, "2 prompts with an answer are too few" in err, file.read_text()) == (2, True, untouched)
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, CAPTURED[:2] * 50)) + "\n")
    code, out, err = call("estimate", "r", "--prompts", "p.jsonl", "--rps", "2", "--write")
    assert code == 0, out + err
    assert "The same prompts are as many tokens to the target." in out
    assert "tiktoken o200k_base" in out
    assert "rollback" in out
    first = file.read_text()
    found = load_text(first, "d.yaml").migration.monitoring.projection
    assert found.keys() == {"cost_per_request", "tokens_per_request"}
    code, out, _ = call("estimate", "r", "--prompts", "p.jsonl", "--write", "--format", "json")
    told = json.loads(out)
    assert (code, told["unknown"]) == (0, [])
    assert found["cost_per_request"] == pytest.approx(told["target"]["cost_warm_usd"], rel=1e-3)
    assert load_text(file.read_text(), "d.yaml").migration == load_text(first, "d.yaml").migration
    assert call("upgrade", "r")[0] == 3
    code, _, err = call("estimate", "r", "--prompts", "p.jsonl", "--write")
    assert (code, "was applied already" in err) == (2, True)
    text = file.read_text().replace(NEW, "anthropic/claude-sonnet-4-20250514")
    file.write_text(text)
    code, out, _ = call("estimate", "r", "--prompts", "p.jsonl")
    assert (code, "What is unknown is not guessed" in out) == (3, True)
    for wrong in (
        (),
        ("--prompts", "none"),
        ("--prompts", "p.jsonl", "--rps", "0"),
        ("--prompts", "p.jsonl", "--peak", "0"),
    ):
        assert call("estimate", "r", *wrong)[0] == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"), (0.0, "$0.00"), (0.00003, "$0.00003"), (3.14159e-7, "$0.0000003142"), (0.5, "$0.50"),
        (0.99999, "$1.00"), (0.0123456, "$0.01235"), (1.005, "$1.00"), (1234.5, "$1,234.50"),
    ],
)  # fmt: skip
def test_an_amount_is_written_out_however_small(value, words):
    assert estimating._usd(value) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [(0.0, "as many"), (0.0004, "as many"), (-0.0004, "as many"), (0.042, "4.2% more"), (-0.5, "50.0% fewer")],
)
def test_a_change_is_said_in_words(change, words):
    assert estimating._against(change, ("fewer", "as many", "more")) == words
