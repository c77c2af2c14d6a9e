"""Captured requests are read line by line, nothing is lost, and what many have in common is told once."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.exceptions import RefusedError
from llmmigrate.models.tools import DIALECTS, to_provider
from llmmigrate.preflight import Asked, Place, Unreadable, check, findings_of, read_request, read_requests
from llmmigrate.preflight import requests as reader
from llmmigrate.preflight.toolbox import schemas
from tests.conftest import ROUTE
from tests.test_preflight_rules import (
    GEMINI_3,
    GPT_4O,
    HELLO,
    MISTRAL,
    OPUS_4_7,
    OPUS_5_5,
    SEARCH,
    SONNET,
    after_a_call,
    document,
    found,
    of,
    structured,
    tool,
)

BODY = {"messages": [HELLO], "temperature": 0}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["type", "properties", "items", "anyOf", "$defs", "required", "enum", "additionalProperties", "x", "allOf", "not"]
)
SCHEMA = st.recursive(
    JSON, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=2), max_leaves=12
)
NAMES = [
    "messages", "tools", "tool_choice", "response_format", "stop", "thinking", "seed", "reasoning_effort", "logprobs",
    "drop_params", "cache_control", "parallel_tool_calls", "logit_bias", "id",
]  # fmt: skip
NUMBERS = st.fixed_dictionaries(
    {}, optional={name: st.integers(1, 9) for name in ("max_tokens", "n", "temperature", "top_p")}
)
CONTENT = st.none() | st.text() | st.lists(st.dictionaries(st.sampled_from(["type", "text", "x"]), JSON), max_size=2)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer"])},
    optional={
        "content": CONTENT,
        "tool_calls": st.lists(JSON, max_size=2),
        "tool_call_id": JSON,
        "thinking_blocks": JSON,
    },
)
ANY_TOOL = st.fixed_dictionaries(
    {}, optional={"type": JSON, "function": st.dictionaries(st.sampled_from(["name", "parameters"]), SCHEMA) | JSON}
)


def write(folder, *lines, name="r.jsonl"):
    file = folder / name
    file.write_bytes(b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines) + b"\n")
    return file


def test_a_line_is_a_request_or_an_object_that_has_one(tmp_path):
    file = write(
        tmp_path,
        {**BODY, "model": "gpt-4o", "tools": [SEARCH], "tool_choice": "auto", "seed": None},
        b"",
        {"request": BODY, "id": "case 7", "answer": {}},
        {"custom_id": "c", "method": "POST", "body": BODY},
        {**BODY, "body": {"messages": []}},
    )
    plain, wrapped, batch, own = read_requests(file, name="r.jsonl")
    assert plain == Asked([HELLO], [SEARCH], "auto", None, {"temperature": 0}, Place("r.jsonl", 1))
    assert wrapped == Asked([HELLO], params={"temperature": 0}, place=Place("r.jsonl", 3, "case 7"))
    assert batch.place == Place("r.jsonl", 4, "c")
    assert own.messages == [HELLO]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"messages": [', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b"[]", "not a JSON object"),
        ({"input": "hello"}, "it has no messages"),
        ({"request": {"prompt": "x"}}, "it has no messages"),
        ({"messages": "hello"}, "messages must be a list of objects, each with a role"),
        ({"messages": [{"content": "hello"}]}, "messages must be a list of objects, each with a role"),
        ({"messages": [{**HELLO, "tool_calls": {"id": 1}}]}, "tool_calls of a message must be a list"),
        ({"messages": [{**HELLO, "tool_calls": [{"id": []}]}]}, "ids of tool calls must be texts"),
        ({"messages": [{**HELLO, "tool_call_id": {}}]}, "ids of tool calls must be texts"),
        ({"messages": []}, "messages is empty"),
        (
            {"messages": [{**HELLO, "role": "usr"}]},
            "the role of a message must be one of system, developer, user, assistant, tool, function",
        ),
        ({"messages": [{**HELLO, "content": 5}]}, "content of a message must be a text, or a list of objects"),
        ({"messages": [{**HELLO, "content": ["x"]}]}, "content of a message must be a text, or a list of objects"),
        ({**BODY, "max_tokens": "12"}, "max_tokens must be a whole number above 0"),
        ({**BODY, "n": 0}, "n must be a whole number above 0"),
        ({**BODY, "temperature": "0"}, "temperature must be a number"),
        ({**BODY, "top_p": True}, "top_p must be a number"),
        ({**BODY, "tools": {"name": "x"}}, "tools must be a list of objects"),
        ({**BODY, "tool_choice": 1}, "tool_choice must be a word or an object"),
        ({**BODY, "response_format": "json"}, "response_format must be an object"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_the_others_are_read(tmp_path, line, words):
    first, bad, last = read_requests(write(tmp_path, BODY, line, BODY), name="r.jsonl")
    assert (bad.place, bad.words) == (Place("r.jsonl", 2), words)
    assert (first.place.line, last.place.line) == (1, 3)


def test_a_line_beyond_all_measure_is_told_and_left(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_LONGEST_LINE", 100)
    file = write(tmp_path, {"messages": [{"role": "user", "content": "x" * 1000}]}, BODY)
    long, short = read_requests(file, name="r.jsonl")
    assert "longer than 100 bytes" in long.words
    assert short.place.line == 2


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path):
    with pytest.raises(RefusedError, match=r"no\.jsonl cannot be read: No such file"):
        list(read_requests(tmp_path / "no.jsonl", name="no.jsonl"))
    with pytest.raises(RefusedError, match="directory"):
        list(read_requests(tmp_path, name="x"))


def test_a_mark_of_byte_order_and_a_missing_last_newline_do_not_matter(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(BODY).encode() + b"\r\n" + json.dumps(BODY).encode())
    assert [one.messages for one in read_requests(file, name="r.jsonl")] == [[HELLO], [HELLO]]


@given(st.binary(max_size=60) | st.text(max_size=60) | JSON.map(json.dumps))
def test_no_line_fails_the_reader(line):
    read = read_request(line, Place("r.jsonl", 1))
    assert isinstance(read, (Asked, Unreadable))


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line and line.strip()), max_size=8))
def test_every_line_is_given_once_with_its_number(tmp_path, lines):
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n" if lines else b"")
    numbers = [one.place.line for one in read_requests(file, name="x")]
    kept = [number for number, line in enumerate(lines, 1) if number > 1 or line.removeprefix(b"\xef\xbb\xbf").strip()]
    assert numbers == kept


PAIRS = [document(MISTRAL, GPT_4O), document(OPUS_5_5, GEMINI_3), document("openai/gpt-5.6", "azure/o3")]


@given(
    st.dictionaries(st.sampled_from(NAMES), JSON),
    NUMBERS,
    st.lists(MESSAGE, min_size=1, max_size=4),
    st.lists(ANY_TOOL, max_size=2),
    st.sampled_from(PAIRS),
)
def test_no_request_fails_a_rule(body, numbers, messages, tools, pair):
    line = json.dumps({**body, **numbers, "messages": messages, "tools": tools})
    asked = read_request(line, Place("r.jsonl", 1))
    for one in findings_of(pair, [asked], file="d.yaml"):
        assert one.message.isprintable()
        assert one.path.isprintable()
        assert one.line >= 1


@given(SCHEMA)
def test_every_schema_within_is_given_once_with_the_path_to_it(schema):
    for path, part in schemas(schema):
        whole = schema
        for key in path:
            whole = whole[key]
        assert whole is part
    paths = [path for path, _ in schemas(schema)]
    assert len(paths) == len(set(paths))


def test_a_request_that_is_nested_too_deeply_is_told_and_the_others_are_checked():
    deep: dict = {}
    for _ in range(2000):
        deep = {"type": "object", "properties": {"a": deep}}
    asked = [
        Asked([HELLO], [tool(a=deep)], place=Place("r.jsonl", 1)),
        Asked([HELLO], response_format=structured(deep)["response_format"], place=Place("r.jsonl", 2)),
        Asked([HELLO], params={"temperature": 0}, place=Place("r.jsonl", 3)),
    ]
    findings = findings_of(document("openai/gpt-5", GPT_4O), asked, file="d.yaml")
    assert [(one.line, one.message) for one in findings if one.rule == "REQ-01"] == [
        (1, "its tools are no JSON, or are nested too deeply"),
        (2, "it is nested too deeply"),
    ]
    assert of("OAI-02", findings) == [("error", "back", "temperature")]


def test_what_many_requests_have_in_common_is_told_once_with_its_first_places():
    requests = [{"temperature": 0, "messages": [HELLO] * index + [{"role": "assistant"}]} for index in range(5)]
    findings = found(document(GPT_4O, OPUS_4_7), *requests)
    [sampling] = [one for one in findings if one.rule == "ANT-04"]
    assert (sampling.requests, sampling.places) == (5, ("r.jsonl:1", "r.jsonl:2", "r.jsonl:3"))
    assert sampling.message.endswith("[5 requests, first r.jsonl:1, r.jsonl:2, r.jsonl:3]")
    [prefill] = [one for one in findings if one.rule == "ANT-03"]
    assert (prefill.requests, prefill.path) == (5, "messages[0]")


def test_a_request_counts_once_however_often_something_is_found_in_it():
    both = [{**message, "content": "x"} for message in after_a_call("abcDEF123")]
    findings = found(document(GPT_4O, MISTRAL), {"messages": both * 3}, {"messages": [HELLO]}, {"messages": both})
    [order] = [one for one in findings if one.rule == "MIS-02"]
    assert (order.requests, order.places, order.path) == (2, ("r.jsonl:1", "r.jsonl:3"), "messages[1]")


def test_findings_stay_few_however_many_names_requests_bring():
    requests = [{"tools": [tool(f"tool.{number}")]} for number in range(200)]
    findings = [one for one in found(document(SONNET, GPT_4O), *requests) if one.rule == "TOOL-01"]
    assert len(findings) <= 62
    assert sum(one.requests for one in findings if one.direction == "there") == 200


def test_lines_that_are_no_requests_are_told_by_what_is_wrong():
    lost = [Unreadable(Place("r.jsonl", number), "not valid JSON", 7) for number in range(1, 6)]
    [one] = [
        one for one in findings_of(document(GPT_4O, "openai/gpt-4.1"), lost, file="d.yaml") if one.rule == "REQ-01"
    ]
    assert (one.severity, one.line, one.column, one.requests) == ("error", 1, 7, 5)
    assert one.places == ("r.jsonl:1", "r.jsonl:2", "r.jsonl:3")


def test_what_a_request_brings_cannot_write_to_a_terminal():
    findings = found(document(SONNET, GPT_4O), {"tools": [tool("\x1b[2J" + "a" * 5000)]})
    [one] = [one for one in findings if one.rule == "TOOL-01" and one.direction == "there"]
    assert "\x1b" not in one.message + one.path
    assert len(one.path) < 500


def lines(world, *requests, target=OPUS_5_5, **options):
    world.write(template="generic", current=GPT_4O, target=target)
    return write(world.folder, *requests), options


def run(world, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "llmmigrate", "check", *arguments],
        cwd=world.folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


FORCED = {"messages": [HELLO], "max_tokens": 9, "tools": [SEARCH], "tool_choice": "required"}


def test_check_holds_requests_against_the_pair_and_exits_with_6_on_an_error(world):
    file, _ = lines(world, {**FORCED, "tool_choice": "auto"})
    done = run(world, "--requests", str(file))
    assert done.returncode == 0, done.stderr
    write(world.folder, FORCED, b"{", FORCED)
    done = run(world, "--requests", str(file))
    assert done.returncode == 6
    assert "ANT-05  error: r.jsonl:1:1: tool_choice: to anthropic/claude-opus-5-5: " in done.stdout
    assert "[2 requests, first r.jsonl:1, r.jsonl:3]" in done.stdout
    assert "REQ-01  error: r.jsonl:2:" in done.stdout
    assert "r.jsonl: 2 requests read; 1 line is no request (REQ-01): 2\n" in done.stdout
    write(world.folder, FORCED, *[b"{"] * 7)
    done = run(world, "--requests", str(file))
    assert "not valid JSON [7 lines, first r.jsonl:2, r.jsonl:3, r.jsonl:4]" in done.stdout
    assert "r.jsonl: 1 request read; 7 lines are no requests (REQ-01): 2, 3, 4, 5, 6, …\n" in done.stdout
    assert json.loads(run(world, "--requests", str(file), "--format", "json").stdout)["unread"] == 7


def test_no_requests_are_no_success(world):
    file, _ = lines(world)
    file.write_bytes(b"\n\n")
    done = run(world, "--requests", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "r.jsonl has no requests" in done.stderr
    write(world.folder, {**FORCED, "tool_choice": "auto"}, FORCED | {"tool_choice": "auto"})
    assert "r.jsonl: 2 requests read." in run(world, "--requests", str(file)).stdout


def test_requests_are_told_in_every_form_that_ci_systems_read(world):
    file, _ = lines(world, FORCED, FORCED)
    by_format = {
        name: run(world, "--requests", str(file), "--format", name) for name in ("json", "github", "junit", "sarif")
    }
    assert {done.returncode for done in by_format.values()} == {6}
    [one] = [one for one in json.loads(by_format["json"].stdout)["findings"] if one["rule"] == "ANT-05"]
    assert (one["file"], one["line"], one["direction"], one["requests"]) == ("r.jsonl", 1, "there", 2)
    assert json.loads(by_format["json"].stdout)["requests"] == 2
    assert one["places"] == ["r.jsonl:1", "r.jsonl:2"]
    assert "::error file=r.jsonl,line=1,col=1,title=ANT-05::tool_choice: to " in by_format["github"].stdout
    cases = {case.get("name"): case for case in ET.fromstring(by_format["junit"].stdout)}
    assert "ANT-05" in cases["r.jsonl"].find("failure").get("message")
    log = json.loads(by_format["sarif"].stdout)["runs"][0]
    [result] = [one for one in log["results"] if one["ruleId"] == "ANT-05"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "r.jsonl"
    assert "Source: " in log["tool"]["driver"]["rules"][result["ruleIndex"]]["help"]["text"]


def test_requests_of_one_route_are_not_held_against_another(world):
    from llmmigrate import scaffold

    file, _ = lines(world, FORCED)
    other = {"message": "x", "current": GPT_4O, "target": OPUS_5_5, "template": "generic"}
    scaffold.new(world.config, world.graph(), route="other", driver="a@example.com", now=world.clock.now(), **other)
    done = run(world, "--requests", str(file))
    assert done.returncode == 2
    assert "requests are those of one route, and there are other, support" in done.stderr
    done = run(world, ROUTE, "--requests", str(file), "--format", "json")
    assert {one["route"] for one in json.loads(done.stdout)["findings"] if one["rule"] == "ANT-05"} == {ROUTE}


def test_what_is_completed_is_not_held_against_facts_of_providers(world):
    from llmmigrate.lifecycle import RouteState

    revision = world.write(template="generic", current=GPT_4O, target=OPUS_5_5)
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert "ANT-01" in {one.rule for one in check(world.config, now=now).findings}
    state = RouteState(route=ROUTE, revision=revision, completed_revision=revision, status="completed")
    with pytest.raises(RefusedError, match="no document is still to come"):
        check(world.config, now=now, states={ROUTE: state}, requests=iter([Asked([HELLO])]))
    report = check(world.config, now=now, states={ROUTE: state})
    assert "ANT-01" not in {one.rule for one in report.findings}


def test_a_rule_is_explained_with_its_source(world):
    done = run(world, "--explain", "ant-05")
    assert done.returncode == 0
    assert done.stdout.startswith("ANT-05 (error): some Claude models take no forced tool")
    assert "  Source:  LiteLLM's cost map, supports_forced_tool_use" in done.stdout


def test_a_check_of_requests_imports_nothing_heavy(world):
    file, _ = lines(world, FORCED)
    script = (
        "import sys; from llmmigrate.cli import main\n"
        f"sys.argv = ['llmmigrate', '-c', {str(world.config.file)!r}, 'check', '--requests', {str(file)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 6, end.code\n"
        "assert not {'litellm', 'numpy', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def real_tools(data):
    """Give the sets of tools of the leaderboard's cases, in OpenAI's form."""
    for name in ("simple_python", "multiple", "parallel"):
        for line in (data / "bfcl" / f"{name}.jsonl").read_text("utf-8").splitlines():
            case = json.loads(line)
            yield case["id"], [{"type": "function", "function": one} for one in case["function"]]


def in_json_schema(part):
    """Write the leaderboard's names of types as JSON Schema has them."""
    types = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
    if isinstance(part, list):
        return [in_json_schema(one) for one in part]
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    return {
        **{key: in_json_schema(value) for key, value in part.items()},
        **({"type": types.get(kind, kind)} if isinstance(kind, str) else {}),
    }


OF_TOOLS = {"TOOL-01", "TOOL-02", "GEM-01"}


@pytest.mark.parametrize(
    ("dialect", "model"), [("openai", GPT_4O), ("anthropic", SONNET), ("gemini", GEMINI_3), ("mistral", MISTRAL)]
)
def test_real_tools_are_written_as_every_provider_takes_them_or_a_rule_names_them(data, dialect, model):
    pair, seen, refused = document("recorded/one", model), 0, set()
    for name, raw in real_tools(data):
        seen += 1
        for tools in (raw, in_json_schema(raw)):
            made = to_provider(tools, dialect)
            asked = Asked([HELLO], tools, place=Place("bfcl", seen, name))
            told = [one for one in findings_of(pair, [asked], file="d.yaml") if one.rule in OF_TOOLS]
            errors = {
                one.path.removeprefix("tools.").split(".parameters.")[0] for one in told if one.severity == "error"
            }
            others = {
                one.path.removeprefix("tools.").split(".parameters.")[0] for one in told if one.severity != "error"
            }
            assert errors == {sentence.partition(": ")[0] for sentence in made.unsupported}, name
            assert {sentence.split(": ")[1] for sentence in made.changed} <= others, name
            if tools is not raw:
                assert {one.rule for one in told if one.severity == "error"} <= {"TOOL-01"}, name
                refused |= errors
    assert seen == 800
    takes = DIALECTS[dialect].names
    assert all(takes is not None and not takes.fullmatch(one) for one in refused)
    assert bool(refused) == (dialect in {"openai", "mistral"})


def test_requests_are_not_kept(tmp_path):
    file = tmp_path / "many.jsonl"
    with file.open("w") as handle:
        for number in range(3000):
            text = {"role": "user", "content": f"{number} " * 500}
            handle.write(json.dumps({"messages": [text], "temperature": 0, "id": f"r{number}"}) + "\n")
    tracemalloc.start()
    findings = findings_of(document(GPT_4O, OPUS_4_7), read_requests(file, name="many.jsonl"), file="d.yaml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    [one] = [one for one in findings if one.rule == "ANT-04"]
    assert (one.requests, one.places[0]) == (3000, "many.jsonl:1 (r0)")
    assert peak < 2_000_000 < file.stat().st_size
