"""A draft holds of what was recorded, loads again, is bounded, and takes different cases of each input type."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks import bfcl
from llmmigrate.document.source import read
from llmmigrate.models import Completion, ModelClient, ToolCall, Usage
from llmmigrate.regression.assertions import Given, Hooks, evaluate
from llmmigrate.regression.captured import captured, import_samples
from llmmigrate.regression.drafting import diverse, draft, drafted_text
from llmmigrate.regression.equivalence import fewest_that_pass
from llmmigrate.regression.equivalence_power import DEFAULT_CASES, cases_needed
from llmmigrate.regression.inferring import inferred
from llmmigrate.regression.suite import read_suite
from llmmigrate.regression.writing import Ids, writable, written
from llmmigrate.routing.router import Router
from llmmigrate.schemas import misfit
from llmmigrate.settings import RouteSettings
from llmmigrate.store.telemetry import Sample
from tests.conftest import ROUTE
from tests.test_assertions import JSON_VALUES

AT = datetime(2026, 11, 2, tzinfo=UTC)
LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}},
    },
}


def sample(
    messages, text="", calls=(), *, arm="control", input_type="", tools=(), finish="stop", system=None, number=0
):
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return Sample(
        id=f"{number:032x}",
        route="support",
        generation=1,
        arm=arm,
        at=AT + timedelta(seconds=number),
        pair=f"p{number}",
        unit="u",
        input_type=input_type,
        request=json.dumps({"messages": messages, "tools": list(tools), "system": system}),
        response=json.dumps({"text": text, "tool_calls": [list(call) for call in calls], "finish_reason": finish}),
        facts=json.dumps({"model": "m", "latency_s": 0.5}),
    )


def load(text):
    return read_suite(text.encode(), "s.yaml")


def drafted(samples, **options):
    """Draft, write, load; every assertion must hold of every answer on record to its case. Return suite and draft."""
    made = draft(samples, **options)
    suite = load(drafted_text(samples, made))
    hooks = options.get("hooks", Hooks())
    answers = {
        json.dumps([list(one.asks.get("messages", [])), one.asks.get("input")]): one.answers
        for one in captured(samples)[0]
    }
    for case, data in zip(suite.cases, made.data["cases"], strict=True):
        for answer in answers[json.dumps([data.get("messages", []), data.get("input")])]:
            for assertion in case.rounds[0].assertions:
                outcome = evaluate(assertion, answer, tools=case.tools, hooks=hooks)
                assert outcome.verdict == "pass", (case.id, outcome)
    return suite, made


def keys(case):
    return [next(key for key in one if key != "embedded") for one in case.get("assert", [])]


def test_prose_is_held_to_its_length_language_and_that_it_was_answered():
    hooks = Hooks(language=lambda text: "en", declined=lambda given: given.text.startswith("Sorry"))
    suite, made = drafted(
        [
            sample("When do you open?", "We open at nine every day.", number=1),
            sample("Hack it", "Sorry, no.", number=2),
        ],
        hooks=hooks,
    )
    assert [case.kind for case in suite.cases] == ["invariant", "refusal"]
    assert made.data["cases"][0]["assert"] == [
        {"length": {"words": {"min": 3, "max": 12}}},
        {"language": "en"},
        {"refusal": "unexpected"},
        {"finish_reason": "stop"},
    ]
    assert made.data["cases"][1]["assert"] == [{"refusal": "expected"}, {"finish_reason": "stop"}]


def test_without_hooks_nothing_is_proposed_about_language_and_refusals():
    _, made = drafted([sample("When do you open?", "At nine.")])
    assert keys(made.data["cases"][0]) == ["length", "finish_reason"]


def test_json_is_held_to_the_schema_of_all_answers_of_its_input_type():
    answers = [{"name": "Ada", "age": 36, "tags": ["a"]}, {"name": "Bob", "age": 1.5, "tags": []}]
    samples = [
        sample(
            f"Extract from text {number} about {word}",
            json.dumps(answers[number % 2]),
            input_type="extract",
            number=number,
        )
        for number, word in enumerate(["apples", "boats", "cars", "doors"])
    ]
    _, made = drafted(samples)
    schema = made.data["cases"][0]["assert"][0]["json_schema"]
    assert schema["properties"]["age"] == {"type": "number"}
    assert schema["required"] == ["name", "age", "tags"]
    assert {case["kind"] for case in made.data["cases"]} == {"format"}


def test_json_in_a_code_fence_is_held_where_it_stands():
    _, made = drafted([sample("Extract", 'Sure:\n```json\n{"a": 1}\n```')])
    assert made.data["cases"][0]["assert"][0]["embedded"] is True


def test_tool_calls_are_held_to_their_tools_and_the_arguments_that_the_user_said():
    calls = [("lookup", '{"id": "A-17", "n": 3, "why": "guess"}')]
    suite, made = drafted([sample("Where is A-17?", "", calls, tools=[LOOKUP], finish="tool_calls")])
    assert made.data["cases"][0]["assert"] == [
        {"tools_called": ["lookup"]},
        {"tools_valid": True},
        {"tool_call": {"name": "lookup", "arguments": {"id": "A-17"}, "extra": True}},
        {"finish_reason": "tool_calls"},
    ]
    assert [tool["function"]["name"] for tool in suite.cases[0].tools] == ["lookup"]


def test_what_does_not_hold_of_every_answer_is_not_proposed():
    bad = [("lookup", '{"id": 17}')]
    _, made = drafted([sample("Where is A-17?", "", bad, tools=[LOOKUP], finish="tool_calls")])
    assert keys(made.data["cases"][0]) == ["tools_called", "finish_reason"]
    _, made = drafted([
        sample("Where is it?", "It is in the yard.", tools=[LOOKUP], number=1),
        sample("Where is it?", "", bad, tools=[LOOKUP], finish="tool_calls", number=2),
    ])  # fmt: skip
    assert len(made.data["cases"]) == 1
    assert keys(made.data["cases"][0]) == []


def test_requests_are_taken_once_and_only_with_the_answers_of_their_arm():
    samples = [
        sample("When?", "At nine o'clock sharp.", number=1),
        sample("When?", "At nine.", number=2),
        sample("When?", "Never ever, as I said so many times before to you.", arm="candidate", number=3),
    ]
    [request], _ = captured(samples)
    assert [answer.text for answer in request.answers] == ["At nine o'clock sharp.", "At nine."]
    assert len(captured(samples, arm=None)[0][0].answers) == 3
    suite, _ = drafted(samples)
    assert len(suite.cases) == 1


def test_a_draft_is_bounded_and_takes_of_every_input_type():
    samples = [
        sample(
            f"question {chr(97 + number // 20)} on {chr(97 + number // 20)}th",
            "an answer",
            input_type=f"type{number % 20}",
            number=number,
        )
        for number in range(400)
    ]
    suite, _ = drafted(samples, most=40)
    assert len(suite.cases) == 40
    types = [case.input_type for case in suite.cases]
    assert {types.count(name) for name in set(types)} == {2}
    assert len(set(types)) == 20


def test_cases_differ_and_near_duplicates_are_left_out():
    same = [
        sample(f"Please tell me where my parcel number {n} is right now", "It is on its way.", number=n)
        for n in range(50)
    ]
    other = [sample("Refund me", "Done.", number=90), sample("¿Dónde está mi paquete?", "Aquí.", number=91)]
    requests, _ = captured(same + other)
    chosen = list(diverse(requests))
    assert {one.text for one in chosen} >= {"Refund me", "¿Dónde está mi paquete?"}
    assert sum(one.text.startswith("Please") for one in chosen) <= 3
    assert list(diverse([])) == []
    made = draft(same + other)
    assert (made.requests, len(made.data["cases"])) == (52, len(chosen))
    assert str(made.left_out[0]) == (
        f"requests: {52 - len(chosen)} of 52: the user's last words are those of another one, but for figures and order"
    )


def asked(number):
    """A request in words of its own, and its answer: one in ten is declined."""
    word = "".join(chr(97 + int(digit)) for digit in str(number))
    return f"Tell me about z{word}", "Sorry, no." if number % 10 == 0 else "Certainly, this is how it is done."


DECLINED = Hooks(language=lambda text: "en", declined=lambda given: given.text.startswith("Sorry"))


def recorded(number):
    return [sample(*asked(one), number=one) for one in range(number)]


def test_a_draft_of_enough_requests_has_the_cases_that_a_suite_needs():
    suite, made = drafted(recorded(310), hooks=DECLINED)
    assert (len(suite.cases), made.asserting, made.requests) == (DEFAULT_CASES, DEFAULT_CASES, 310)
    assert made.asserting >= cases_needed(None) > fewest_that_pass()
    assert [str(one) for one in made.left_out] == ["requests: 160 of 310: the suite has the 150 cases that it may have"]


def test_more_cases_are_taken_where_more_are_asked_for():
    assert [len(draft(recorded(310), most=most).data["cases"]) for most in (5, 200, 1000)] == [5, 200, 310]


def test_an_input_type_of_many_requests_is_looked_at_in_part():
    made = draft([*recorded(501), sample("Hi", "Hello.", input_type="b", number=900)], most=300)
    assert len(made.data["cases"]) == 300
    same = draft([*recorded(1), *[sample(f"{n} is it", "Yes.", number=n) for n in range(1, 600)]], most=300)
    assert [str(one) for one in same.left_out] == [
        "requests: 498 of 600: the user's last words are those of another one, but for figures and order",
        "requests: 100 of 600: no more than 500 of one input type are looked at",
    ]


def test_the_prompt_of_the_endpoint_is_left_out_since_it_moves_with_its_model():
    _, made = drafted([sample("Hi", "Hello there, how are you?", system="You are old-model's prompt")])
    assert "old-model" not in made.text()
    assert [one.what for one in made.left_out] == ["the system prompt of the endpoint: it moves with its model"]


@pytest.mark.parametrize(
    "broken",
    [
        {"request": "{"},
        {"request": "[]"},
        {"request": '{"messages": []}'},
        {"request": '{"messages": [{"role": "user", "content": null}]}'},
        {"response": "{}"},
        {"response": '{"text": "a", "tool_calls": [1], "finish_reason": "stop"}'},
        {"response": '{"text": null, "tool_calls": [], "finish_reason": "stop"}'},
        {"facts": "no"},
        {"request": json.dumps({"messages": [{"role": "user", "content": "x" * 65_536}]})},
        {"response": json.dumps({"text": "x" * 65_536, "tool_calls": [], "finish_reason": "stop"})},
        {"request": json.dumps({"messages": [{"role": "user", "content": "key sk-abcdefghijklmnopqrstuvwx"}]})},
    ],
)
def test_a_sample_that_cannot_be_used_is_left_out_by_name(broken):
    good = sample("Hi", "Hello.", number=2)
    suite, made = drafted([replace(sample("A", "B", number=1), **broken), good])
    assert len(suite.cases) == 1
    assert made.left_out[0].what.startswith("a sample: ")


class Calling(ModelClient):
    """Looks up what it is asked about."""

    async def complete(self, request):
        calls = (ToolCall("c", "lookup", '{"id": "A-17"}'),)
        return Completion(request.model, "", Usage(1, 1), 0.1, "tool_calls", calls)


def test_what_a_router_records_is_what_is_read(world):
    world.write()
    world.upgrade()
    clients = {"fake/old": Calling(), "fake/new": Calling()}
    routes = {ROUTE: RouteSettings(sample=1.0)}
    with Router(store=world.store, clients=clients, clock=world.clock, background=False, routes=routes) as router:
        router.poll()
        messages = [{"role": "user", "content": "Mail me at ada@example.com about A-17"}]
        router.completion(route=ROUTE, messages=messages, tools=[LOOKUP], unit="u", input_type="billing")
        router.mirror.wait()
        router.flush()
    suite, made = drafted(world.store.telemetry.samples(ROUTE))
    assert suite.cases[0].rounds[0].messages[0]["content"] == "Mail me at [e-mail] about A-17"
    assert keys(made.data["cases"][0]) == ["tools_called", "tools_valid", "tool_call", "finish_reason"]
    assert suite.cases[0].input_type == "billing"


def test_samples_become_cases_that_assert_nothing():
    found = import_samples([sample(f"q {number}", "a", number=number) for number in range(5)])
    suite = load(found.text())
    assert [case.rounds[0].assertions for case in suite.cases] == [()] * 5


def test_a_draft_of_nothing_is_no_suite():
    made = draft([])
    assert made.data == {"cases": []}


def test_real_answers_become_a_draft_that_holds(data):
    lines = (data / "alpaca-eval-outputs" / "llama3-vs-llama31.jsonl").read_text("utf-8").splitlines()[:300]
    rows = [json.loads(line) for line in lines]
    samples = [
        sample(row["instruction"], row["Meta-Llama-3-8B-Instruct"], input_type=row["dataset"], number=number)
        for number, row in enumerate(rows)
    ]
    suite, made = drafted(samples, most=30)
    assert len(suite.cases) == 30
    assert all(case["assert"] for case in made.data["cases"])


def test_real_tool_calls_become_a_draft_that_holds(data):
    samples = []
    for number, item in enumerate(bfcl.load(data / "bfcl", "simple_python")[:60]):
        name, arguments = next(bfcl.correct(item))[0]
        question = json.loads((data / "bfcl" / "simple_python.jsonl").read_text("utf-8").splitlines()[number])[
            "question"
        ]
        samples.append(
            sample(
                question[0], "", [(name, json.dumps(arguments))], tools=item.tools, finish="tool_calls",
                input_type="math" if number % 2 else "law", number=number,
            )
        )  # fmt: skip
    suite, made = drafted(samples, most=10)
    assert len(suite.cases) == 10
    assert all("tools_called" in keys(case) for case in made.data["cases"])
    assert sum("tool_call" in keys(case) for case in made.data["cases"]) >= 5


def nested(depth):
    value = "leaf"
    for _ in range(depth):
        value = [value]
    return value


@given(st.lists(JSON_VALUES, min_size=1, max_size=12))
def test_every_value_fits_the_schema_that_was_inferred_from_it(values):
    schema = inferred(values)
    for value in values:
        assert misfit(value, schema) is None


def test_texts_of_few_values_become_an_enumeration():
    assert inferred(["open", "shut"] * 5) == {"type": "string", "enum": ["open", "shut"]}
    assert inferred(["open", "shut"] * 4) == {"type": "string"}
    assert inferred([{"k": n, f"x{n}": "a"} for n in range(60)])["additionalProperties"] == {
        "type": ["integer", "string"]
    }


@given(JSON_VALUES | st.text(st.characters()) | st.floats() | st.integers(0, 40).map(nested))
@example(nested(27))
@example(nested(28))
def test_what_is_written_reads_back_as_the_same_or_is_refused(value):
    data = {"cases": [{"id": "a", "value": value}]}
    try:
        text = written(data, ["a\ncomment \x1b[2J"])
    except ValueError:
        assert not writable(data["cases"][0])
        return
    assert json.dumps(read(text.encode(), "s").data) == json.dumps(data)
    assert text.splitlines()[:2] == ["# a", "# comment \N{REPLACEMENT CHARACTER}[2J"]


@given(st.lists(st.text(), max_size=30))
def test_ids_are_valid_and_differ(words):
    ids = Ids()
    found = [ids.of(one) for one in [*words, *words]]
    assert len(set(found)) == len(found)
    for one in found:
        load(written({"cases": [{"id": one, "input": "x"}]}))


def test_an_unknown_answer_is_no_evidence():
    """Length and the like hold of nothing where there was no answer on record."""
    _, made = drafted([sample("Hi", "")])
    assert keys(made.data["cases"][0]) == ["finish_reason"]
    assert evaluate(load(made.text()).cases[0].rounds[0].assertions[0], Given("")).verdict == "hold"
