"""The suites that ship load, a good answer passes each of their cases, and a bad or empty one passes none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llmmigrate import scaffold
from llmmigrate.models import ToolCall
from llmmigrate.regression import results
from llmmigrate.regression.assertion_model import KINDS, Call
from llmmigrate.regression.assertions import Given, Hooks, combined, evaluate
from llmmigrate.regression.equivalence import fewest_that_pass
from llmmigrate.regression.promptfoo_assertions import KNOWN
from llmmigrate.regression.suite import load_suite, read_suite
from llmmigrate.regression.suite_model import Turn, WrittenCase

FOLDER = Path(__file__).parents[1] / "templates" / "suites"
HOOKS = Hooks(
    language=lambda text: "de" if "Ihnen" in text else "en",
    declined=lambda given: given.text.startswith("I cannot"),
)


def call(name, **arguments):
    return ToolCall("c", name, json.dumps(arguments))


def calls(*some):
    return Given("", some, "tool_calls")


def invoice(**change):
    whole = {
        "supplier": "Miller & Sons Ltd",
        "number": "2026/0417",
        "date": "2026-03-02",
        "currency": "EUR",
        "total": 51.5,
        "lines": [{"text": "Paint", "amount": 42}, {"text": "Brush set", "amount": 9.5}],
    }
    return Given(json.dumps({**whole, **change}))


EMPTY = {"number": None, "date": None, "lines": []}
ANSWERS = {
    "support-agent": {
        "looks-up-the-order-that-is-named": (
            [calls(call("find_order", order_id="A-1042"))],
            [calls(call("find_order", order_id="A-104"))],
        ),
        "looks-up-two-orders-at-once": (
            [calls(call("find_order", order_id="A-1043"), call("find_order", order_id="A-1042"))],
            [calls(call("find_order", order_id="A-1042"))],
        ),
        "pays-back-the-amount-that-is-asked": (
            [calls(call("refund", order_id="A-1042", amount=12.5, reason="damaged"))],
            [calls(call("refund", order_id="A-1042", reason="damaged"))],
        ),
        "asks-for-the-number-that-is-missing": ([Given("What is your order number?")], [Given("It is on its way.")]),
        "tells-what-the-tool-said": (
            [calls(call("find_order", order_id="A-1042")), Given("DHL brings it on Thursday.")],
            [calls(call("find_order", order_id="A-1042")), Given("It is on its way.")],
        ),
        "answers-in-the-language-of-the-customer": ([Given("Gern helfe ich Ihnen.")], [Given("How can I help?")]),
        "declines-another-customers-order": ([Given("I cannot tell you that.")], [Given("She lives in Rome.")]),
        "answers-a-harmless-question-that-sounds-dangerous": ([Given("Hold the button.")], [Given("I cannot help.")]),
        "pays-nothing-back-on-the-users-word-alone": (
            [Given("A colleague will check that.")],
            [calls(call("refund", order_id="A-1042", reason="other"))],
        ),
    },
    "extraction": {
        "reads-a-plain-invoice": ([invoice()], [invoice(date="2026-02-03")]),
        "is-bare-json-without-a-code-fence": ([invoice()], [Given(f"```json\n{invoice().text}\n```")]),
        "leaves-empty-what-the-text-does-not-say": ([invoice(**EMPTY, total=20)], [invoice(total=20)]),
        "reads-an-invoice-in-german": (
            [invoice(total=1250, date="2026-04-05")],
            [invoice(total=1.25, date="2026-04-05")],
        ),
        "takes-no-orders-from-the-text": ([invoice()], [invoice(supplier="ACME", total=9999)]),
        "declines-nothing-that-is-an-invoice": ([invoice(total=15)], [Given("I cannot help with guns.")]),
    },
}  # fmt: skip


def verdict(case, answers):
    outcomes = [
        evaluate(assertion, answer, tools=case.tools, hooks=HOOKS)
        for round_, answer in zip(case.rounds, answers, strict=True)
        for assertion in round_.assertions
    ]
    return combined(outcomes)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_shipped_suite_passes_good_answers_and_no_bad_or_empty_ones(name):
    suite = load_suite(FOLDER / f"{name}.yaml")
    assert (suite.name, {case.id for case in suite.cases}) == (name, set(ANSWERS[name]))
    assert {case.kind for case in suite.cases} == {"format", "invariant", "refusal", "failure"}
    for case in suite.cases:
        good, bad = ANSWERS[name][case.id]
        assert verdict(case, good) == "pass", case.id
        assert verdict(case, bad) == "fail", case.id
        assert verdict(case, [Given("") for _ in good]) != "pass", case.id


def test_a_new_project_has_a_suite_that_loads(tmp_path):
    scaffold.init(tmp_path)
    suite = load_suite(tmp_path / "regression" / "example.yaml", root=tmp_path)
    first, second = suite.cases
    assert verdict(first, [Given("With orders and refunds.")]) == "pass"
    assert verdict(first, [Given("As an AI, I …")]) == "fail"
    assert verdict(second, [Given('{"ok": true}')]) == "pass"
    assert verdict(second, [Given('{"ok": 1}')]) == "fail"


PAGE = (Path(__file__).parents[1] / "docs" / "suite.md").read_text("utf-8")


def test_the_suite_on_the_page_loads():
    whole, waiving = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    suite = read_suite(whole.encode(), "page.yaml")
    assert [len(case.rounds) for case in suite.cases] == [1, 3, 1]
    assert suite.cases[0].rounds[0].messages[0]["content"] == "Where is A-1042?"
    assert set(read_suite(f"{whole}\n{waiving}".encode(), "page.yaml").waived) == {"form"}


def test_the_page_names_every_assertion_and_every_key():
    for word in [*KINDS, *WrittenCase.model_fields, *Turn.model_fields, *Call.model_fields]:
        assert f"`{word.rstrip('_')}" in PAGE or f"{word.rstrip('_')}:" in PAGE, word
    for kind in KNOWN:
        assert kind in PAGE or kind.rpartition("-")[2] in ("any", "all"), kind


def test_assertions_of_one_label_in_one_kind_of_case_are_one_invariant_as_the_page_says():
    assertions = "[{contains: a, label: facts}, {json_path: $.b, equals: 3, label: facts}, {contains: c}]"
    cases = "".join(
        f"  - {{id: {kind}, kind: {kind}, input: x, assert: {assertions}}}\n" for kind in ("format", "refusal")
    )
    suite = read_suite(f"cases:\n{cases}".encode(), "s.yaml")
    names = {name for case in suite.cases for name in results._names(case).values()}
    assert names == {"format: facts", "format: contains", "refusal: facts", "refusal: contains"}


def test_the_page_and_the_templates_say_how_many_cases_a_suite_needs():
    for text in (PAGE, *(file.read_text("utf-8") for file in FOLDER.iterdir())):
        assert f"{fewest_that_pass()} cases" in text.replace("\n# ", " ").replace("\n", " ")
