"""Texts are kept of sampled requests only, redacted before they leave the process; kinds of request by rules."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate import settings
from llmmigrate.exceptions import SettingsError, StoreError
from llmmigrate.models import Completion, ModelClient, ToolCall, Usage
from llmmigrate.redaction import redact, secret_in
from llmmigrate.routing.input_types import input_type_of
from llmmigrate.routing.router import Router
from llmmigrate.routing.samples import MAX_SAMPLES
from llmmigrate.settings import InputType, RouteSettings
from tests.conftest import ROUTE, both_backends

SECRETS = {
    "sk-proj-abcdefghijklmnop1234": "[API key]",
    "AKIAABCDEFGHIJKLMNOP": "[AWS access key]",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789": "[GitHub token]",
    "xoxb-123456789012-abcdefghijkl": "[Slack token]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl": "[web token]",
    "Bearer abcdefghijklmnopqrstuvwx": "[bearer token]",
    "postgresql://me:hunter2@db/x": "[password in a URL]db/x",
    "x" * 50 + "://me:hunter2@db/x": "x" * 29 + "[password in a URL]db/x",
    "maria.gomez+x@mail.example.co.uk": "[e-mail]",
    "+49 (0)30 1234567": "[phone]",
    "415-555-0132": "[phone]",
    "4111 1111 1111 1111": "[card]",
    "378282246310005": "[card]",
    "DE89 3704 0044 0532 0130 00": "[IBAN]",
    "GB82WEST12345698765432": "[IBAN]",
}


@pytest.mark.parametrize(("text", "instead"), SECRETS.items())
def test_what_must_not_be_kept_is_replaced_by_its_kind(text, instead):
    assert redact(f"it is {text}, thanks") == f"it is {instead}, thanks"


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112 of 2026-11-25",
        "DE00 3704 0044 0532 0130 00",
        "version 3.11.7, 1,234,567 requests, 10.0.0.1",
        "a@b and x = y @ z",
        "3f9a1c7b2d4e-aaaa-4bbb-8ccc-1234567890ab",
        "1700000000000 ms",
    ],
)
def test_what_only_looks_alike_stays(text):
    assert redact(text) == text


@given(st.text())
def test_redaction_ends_and_says_no_secret_twice(text):
    once = redact(text)
    assert redact(once) == once
    assert secret_in(once) is None


def test_long_hostile_texts_take_no_time():
    for text in ("a@" * 20_000, "+1 " * 20_000, "1 " * 40_000, "DE89 " * 20_000, "x." * 20_000 + "@"):
        redact(text)


class Telling(ModelClient):
    """Answers with all that it must not say."""

    async def complete(self, request):
        return Completion(
            request.model,
            " ".join(SECRETS),
            Usage(1, 1),
            0.1,
            tool_calls=(ToolCall("1", "send", json.dumps({"to": "maria.gomez@example.com"})),),
            finish_reason=next(iter(SECRETS)),
        )


def ask_for_trouble(router, number=20):
    for request in range(number):
        router.completion(
            route=ROUTE,
            messages=[{"role": "user", "content": [{"type": "text", "text": f"I am {' '.join(SECRETS)}"}]}],
            tools=[
                {"type": "function", "function": {"name": "send", "description": "to sk-proj-abcdefghijklmnop1234"}}
            ],
            unit=f"maria.gomez@example.com {request}",
            input_type=next(iter(SECRETS)),
            started_at=next(iter(SECRETS)),
            attributes={"tenant": "4111 1111 1111 1111"},
        )
        router.mirror.wait()
    router.flush()


def sampling(world, share=1.0, **options):
    clients = {"fake/old": Telling(), "fake/new": Telling()}
    routes = {ROUTE: RouteSettings(sample=share)}
    router = Router(store=world.store, clients=clients, clock=world.clock, background=False, routes=routes, **options)
    router.poll()
    return router


def stored(world):
    """Return all that the store holds, as bytes (PostgreSQL: every row of every table as text)."""
    if world.config.database_url.startswith("sqlite"):
        return b"".join(file.read_bytes() for file in world.folder.glob("**/*.db*"))
    engine = world.store.telemetry.engine
    with engine.connect() as connection:
        names = connection.exec_driver_sql("select tablename from pg_tables where schemaname = 'public'").scalars()
        rows = [connection.exec_driver_sql(f'select t::text from "{name}" t').scalars().all() for name in names]
    return "\n".join(row for some in rows for row in some).encode()


@both_backends
def test_no_secret_reaches_store_logs_or_spool(world, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    world.write()
    world.upgrade()
    with sampling(world, spool=tmp_path / "spool") as router:
        ask_for_trouble(router)
    world.upgrade()
    kept = world.store.telemetry.samples(ROUTE)
    assert len(kept) == 40
    written = stored(world) + caplog.text.encode() + b"".join(f.read_bytes() for f in tmp_path.glob("spool/**/*.*"))
    for secret in (*SECRETS, "maria.gomez"):
        assert secret.encode() not in written, secret
    assert b"[API key]" in written


@both_backends
@pytest.mark.parametrize("text", ["a\0b", "half a pair \ud800"])
def test_a_text_that_no_database_keeps_stops_neither_samples_nor_counts(world, text):
    world.write()
    world.upgrade()
    with sampling(world) as router:
        asked = {"messages": [{"role": "user", "content": text}], "input_type": text, "unit": "u"}
        router.completion(route=ROUTE, **asked)
        router.completion(route=ROUTE, messages=[], unit="u")
        router.mirror.wait()
        router.flush()
    assert len(world.store.telemetry.samples(ROUTE)) == 4
    assert {v.n_control for v in world.upgrade().last.verdicts if v.metric == "error_rate"} == {2}


def test_texts_of_one_request_belong_together_and_say_whose_they_are(world):
    world.write()
    world.upgrade()
    with sampling(world) as router:
        ask_for_trouble(router, 3)
    kept = world.store.telemetry.samples(ROUTE)
    by_pair = {}
    for sample in kept:
        by_pair.setdefault(sample.pair, set()).add(sample.arm)
    assert list(by_pair.values()) == [{"control", "candidate"}] * 3
    request, response = json.loads(kept[0].request), json.loads(kept[0].response)
    assert request["messages"][0]["content"][0]["text"].startswith("I am [API key]")
    assert response["tool_calls"] == [["send", '{"to": "[e-mail]"}']]


def test_nothing_is_kept_where_nobody_asked_for_it(world):
    world.write()
    world.upgrade()
    with sampling(world, share=0.0) as router:
        ask_for_trouble(router, 5)
    assert world.store.telemetry.samples(ROUTE) == []


def test_a_hook_redacts_more_and_one_that_fails_keeps_nothing(world):
    world.write()
    world.upgrade()
    with sampling(world, redact=lambda text: re.sub("thanks|I am", "…", text)) as router:
        ask_for_trouble(router, 1)
    assert "I am" not in world.store.telemetry.samples(ROUTE)[0].request
    with sampling(world, redact=lambda text: text[10**9]) as router:
        ask_for_trouble(router, 1)
    assert len(world.store.telemetry.samples(ROUTE)) == 2


def test_texts_wait_in_memory_and_few_of_them_while_the_store_is_away(world, monkeypatch, tmp_path):
    world.write()
    world.upgrade()

    def away(*_args, **_kwargs):
        raise StoreError("away")

    with sampling(world, spool=tmp_path) as router:
        with monkeypatch.context() as patched:
            patched.setattr(world.store.telemetry, "put_samples", away)
            ask_for_trouble(router, MAX_SAMPLES)
        assert not any(b"[API key]" in file.read_bytes() for file in tmp_path.glob("**/*.*"))
        router.flush()
    assert len(world.store.telemetry.samples(ROUTE)) == MAX_SAMPLES


RULES = (
    InputType("refund", re.compile("(?i)refund|money back")),
    InputType("agent", tools=("search", "send")),
    InputType("vip", re.compile("."), attributes={"tenant": ("acme", "7")}),
)


@pytest.mark.parametrize(
    ("messages", "tools", "attributes", "expected"),
    [
        ([{"role": "user", "content": "I want my Money Back"}], [], {}, "refund"),
        ([{"role": "user", "content": "refund"}, {"role": "assistant", "content": "x"}], [], {}, "refund"),
        ([{"role": "assistant", "content": "refund"}], [], {}, ""),
        ([{"role": "user", "content": [{"type": "text", "text": "a refund"}]}], [], {}, "refund"),
        ([], [{"type": "function", "function": {"name": "send"}}], {}, "agent"),
        ([{"role": "user", "content": "hi"}], [{"type": "other"}], {"tenant": 7}, "vip"),
        ([{"role": "user", "content": "hi"}], [], {"tenant": "other"}, ""),
        ([{"role": "user", "content": None}], [], {"tenant": "acme"}, ""),
    ],
)
def test_a_request_is_of_the_first_kind_that_it_fits(messages, tools, attributes, expected):
    assert input_type_of(RULES, messages, tools, attributes) == expected


def test_the_callers_word_comes_before_the_rules(world):
    world.write()
    world.upgrade()
    routes = {ROUTE: RouteSettings(input_types=RULES)}
    clients = {"fake/old": Telling(), "fake/new": Telling()}
    with Router(store=world.store, clients=clients, clock=world.clock, background=False, routes=routes) as router:
        router.poll()
        ask = [{"role": "user", "content": "refund"}]
        router.completion(route=ROUTE, messages=ask, unit="a")
        router.completion(route=ROUTE, messages=ask, unit="b", input_type="mine")
        other = [{"role": "user", "content": "x"}]
        assert router.input_type(ROUTE, attributes={"tenant": "acme"}, messages=other) == "vip"
        assert router.input_type("other", messages=ask) == ""
        router.mirror.wait()
        router.flush()
        assert {key[3] for key in flushed(world)} >= {"refund", "mine"}


def flushed(world):
    with world.store.telemetry.reading() as connection:
        rows = connection.exec_driver_sql("select payload from llmmigrate_flush").scalars().all()
    return [tuple(cell[:5]) for row in rows for cell in json.loads(row)["cells"]]


CONFIG = """
[routes.support]
sample = "2%"
[[routes.support.input_types]]
name = "refund"
pattern = "(?i)refund"
[[routes.support.input_types]]
name = "agent"
tools = ["search"]
attributes = {tenant = ["acme"]}
"""


def test_rules_are_read_from_the_configuration(tmp_path):
    (tmp_path / "llmmigrate.toml").write_text(CONFIG, "utf-8")
    found = settings.load(cwd=tmp_path, environ={}).routes["support"]
    assert found.sample == 0.02
    assert [rule.name for rule in found.input_types] == ["refund", "agent"]
    assert found.input_types[1].attributes == {"tenant": ("acme",)}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"2%"', "2", "sample"),
        ("sample =", "samples =", "unknown key 'samples'"),
        ('"(?i)refund"', '"("', "is no pattern"),
        ('name = "refund"', 'name = ""', "every rule has a name"),
        ('tools = ["search"]', 'tools = "search"', "tools is a list"),
        ('{tenant = ["acme"]}', '{tenant = "acme"}', "attributes is a table"),
        ('pattern = "(?i)refund"\n', "", "asks for nothing"),
        ("pattern =", "patern =", "unknown key 'patern'"),
        ("[[routes.support.input_types]]", "[routes.support.input_types]", "write the"),
    ],
)
def test_a_rule_that_cannot_be_read_is_told(tmp_path, old, new, words):
    text = CONFIG.replace(old, new, 1)
    if new == "[routes.support.input_types]":
        text = text.rpartition("[[")[0]
    (tmp_path / "llmmigrate.toml").write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=re.escape(words)):
        settings.load(cwd=tmp_path, environ={})


def test_a_router_reads_its_rules_from_the_configuration(world):
    with (world.folder / "llmmigrate.toml").open("a", encoding="utf-8") as file:
        file.write(CONFIG)
    world.write()
    world.upgrade()
    program = """
from llmmigrate import Router
with Router(background=False) as router:
    print(router.input_type("support", messages=[{"role": "user", "content": "refund"}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=world.folder,
        env={**os.environ, "LLMMIGRATE_DATABASE_URL": world.config.database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "refund", done.stderr
