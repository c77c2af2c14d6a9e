"""Documents are read strictly, every error has its place, and only content changes the hash."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.document import load_text
from llmmigrate.document.source import read
from llmmigrate.exceptions import DocumentInvalid, ExitCode

EXAMPLE = next((Path(__file__).parents[1] / "migrations" / "versions").glob("*.yaml")).read_text("utf-8")


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentInvalid) as caught:
        load_text(text, "d.yaml")
    assert caught.value.exit_code == ExitCode.UNFIT
    return [str(problem) for problem in caught.value.problems]


def test_the_example_of_the_repository_is_valid():
    assert load_text(EXAMPLE, "d.yaml").migration.route == "support-agent"


def test_an_unknown_key_is_refused_at_its_place():
    line = EXAMPLE.count("\n", 0, EXAMPLE.index("owners:")) + 1
    found = problems(EXAMPLE.replace("owners:", "judge: {model: x}\nowners:"))
    assert found == [f"d.yaml:{line}:8: judge: this version knows no such key (it is refused rather than ignored)"]


def test_all_errors_come_at_once():
    text = (
        EXAMPLE.replace("duration: 14d", "duration: 14").replace("traffic: 5%", "traffic: 5").replace("route:", "rout:")
    )
    found = "\n".join(problems(text))
    assert "observation.duration" in found
    assert "canary.steps[0].traffic" in found
    assert "route: is missing" in found
    assert "rout: this version knows no such key" in found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("traffic: 25%", "traffic: 5%", "each step must take more traffic"),
        ("traffic: 100%, hold", "traffic: 90%, hold", "end at 100%"),
        ("holdback: 5%", "holdback: 0%", "holdback must be above 0%"),
        ("duration: 14d", "duration: 3d", "shorter than 14 days"),
        ("metric: error_rate, above: 5%", "metric: error_rate, increase: 5%", "has the wrong unit for error_rate"),
        ("metric: error_rate, above: 5%", "metric: error_rate", "exactly one of"),
        ("metric: error_rate, above: 5%", "metric: errors, above: 5%", "nothing measures errors"),
        ("metric: error_rate, above: 5%", "metric: latency_p99, above: 5%", "write it such as 200ms"),
        ("metric: error_rate, above: 5%", "metric: error_rate, above: 0%", "room on both sides"),
        ("  - {metric: error_rate, above: 5%}\n", "", "must name or waive error_rate"),
        ("unit: conversation", "unit: session", "conversation"),
        ("route: support-agent", "route: ../etc", "route"),
    ],
)
def test_a_document_that_is_not_fit_says_why(old, new, message):
    assert old in EXAMPLE
    assert message in "\n".join(problems(EXAMPLE.replace(old, new, 1)))


def test_something_must_be_able_to_stop_a_migration():
    text = EXAMPLE.replace("metric: error_rate, above: 5%", "metric: error_rate, waived: x")
    text = text.replace("metric: cost_per_request, increase: 20%", "metric: cost_per_request, waived: x")
    assert "every rollback rule is waived" in "\n".join(problems(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is a mapping"),
        ("- a\n", "is a mapping"),
        ("a: 1\na: 2\n", "stands twice"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("a: !!python/object/apply:os.system ['true']\n", "not allowed"),
        ("a: !!python/name:os.system\n", "not allowed"),
        ("a: !mine 1\n", "not allowed"),
        ("a: .nan\n", "not a number"),
        ("a: [1\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("[" * 100_000, "nested too deeply"),
        ("a: \x00", "not valid YAML"),
        ("x: " + "y" * 1_100_000, "larger than"),
        ("? [a]\n: 1\n", "plain text"),
    ],
)
def test_hostile_yaml_is_refused_in_one_sentence(text, message):
    assert message in "\n".join(problems(text))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_source_or_invalid(raw):
    try:
        read(raw, "d.yaml")
    except DocumentInvalid as error:
        assert error.problems  # noqa: PT017 (either outcome is right)


@given(st.text(alphabet="ab:{}[]-#&*!|>'\"% \n\t?,0.", max_size=60))
def test_any_yaml_like_text_is_a_source_or_invalid(text):
    try:
        read(text.encode(), "d.yaml")
    except DocumentInvalid as error:
        assert error.problems  # noqa: PT017 (either outcome is right)


def test_only_content_changes_the_hash():
    original = load_text(EXAMPLE, "d.yaml").hash
    lines = EXAMPLE.splitlines()
    same = [
        EXAMPLE.replace("\n", "\r\n"),
        EXAMPLE + "\n# a comment\n",
        "\n".join(line.split("   #")[0] for line in lines) + "\n",
        "\ufeff" + EXAMPLE,
        EXAMPLE.replace("down_revision: null", ""),
    ]
    for text in same:
        assert load_text(text, "d.yaml").hash == original
    for old, new in [("above: 5%", "above: 8%"), ("6h..48h", "6h..47h"), ("message: ", "message: Please ")]:
        assert load_text(EXAMPLE.replace(old, new, 1), "d.yaml").hash != original


def with_limits(text, side, limits):
    return text.replace(f"\n{side}:", f"\n{side}:\n  limits: {limits}", 1)


def test_limits_are_of_an_account_and_no_part_of_what_is_served():
    before = load_text(EXAMPLE, "d.yaml")
    after = load_text(with_limits(EXAMPLE, "target", "{rpm: 500, tpm: 200000}"), "d.yaml")
    limits = after.migration.target.limits
    assert (limits.rpm, limits.tpm) == (500, 200_000)
    assert load_text(with_limits(EXAMPLE, "current", "{tpm: 9}"), "d.yaml").migration.current.limits.rpm is None
    assert after.moves("target") == before.moves("target")
    assert after.hash != before.hash
    assert before.migration.target.limits is None


def test_models_that_differ_in_their_limits_alone_are_the_same_model():
    model = load_text(EXAMPLE, "d.yaml").migration.current.model
    head, _, rest = EXAMPLE.partition("current:")
    text = f"{head}current: {{model: {model}}}\ntarget: {{model: {model}, limits: {{rpm: 5}}}}\n"
    assert "current and target are the same" in "\n".join(problems(text + rest[rest.index("owners:") :]))


@pytest.mark.parametrize(
    "limits",
    ["{}", "{rpm: null}", "{rpm: 0}", "{rpm: -1}", "{tpm: 1.5}", "{rpm: true}", "{rpm: '500'}", "{rps: 8}", "9"],
)
def test_limits_that_limit_nothing_are_refused_at_their_place(limits):
    assert all("target.limits" in one for one in problems(with_limits(EXAMPLE, "target", limits)))


def test_dates_stay_as_they_were_written():
    assert read(b"a: 2026-11-23T14:32:00Z\nb: 2026-11-23\n", "d").data == {
        "a": "2026-11-23T14:32:00Z",
        "b": "2026-11-23",
    }
