"""The commands beyond the main way, called as a script calls them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmmigrate import settings
from llmmigrate.cli import main as entry
from llmmigrate.runner import Controller, ask, upgrade
from llmmigrate.store import Store
from llmmigrate.store.folding import fold
from llmmigrate.store.telemetry import Replica
from tests.conftest import ROUTE


@pytest.fixture
def project(tmp_path, capsys, monkeypatch):
    """Return a function that runs a command in a project of one document, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("LLMMIGRATE_CONFIG", "LLMMIGRATE_DATABASE_URL", "VISUAL"):
        monkeypatch.delenv(name, raising=False)

    def run(*command):
        with pytest.raises(SystemExit) as ended:
            entry(list(command))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return ended.value.code, out, err

    run.folder = tmp_path
    assert run("init")[0] == 0
    assert new(run)[0] == 0
    return run


def new(run, *more, route=ROUTE):
    return run("new", "-m", "Move it", "--route", route, "--from", "fake/old", "--to", "fake/new", *more)


def document(run):
    return next((run.folder / "migrations" / "versions").glob("*.yaml"))


def state(run):
    store = Store.open(f"sqlite:///{run.folder / 'llmmigrate.db'}")
    try:
        return store.route(ROUTE)
    finally:
        store.close()


def test_upgrade_goes_no_further_than_told(project):
    code, out, _ = project("upgrade", "--to", "regression")
    assert (code, "is at regression, as asked" in out) == (0, True)
    assert project("upgrade", "--to", "shadow")[0] == 0
    assert state(project).phase == "shadow"
    code, _, err = project("upgrade", "--to", "canary:7")
    assert (code, "has no stage 'canary:7'; it has regression, shadow, canary:5" in err) == (2, True)


def test_a_stage_to_stop_at_stops_progress_and_no_trigger(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.serve(router, 20_000, over_s=3 * 86_400)
        graph = world.graph()
        world.store.telemetry.heartbeat(at=world.store.real_now())
        target = graph.resolve(ROUTE)
        told = upgrade(world.store, graph, ROUTE, target.revision, actor="t", to="shadow")
        assert (told.reached, told.last.state.phase) == (True, "shadow")
        assert "told to stop at shadow" in told.last.wait.reasons[0].detail
        assert world.upgrade().last.state.phase == "canary:5"


def test_a_dry_run_writes_nothing_and_says_what_would_happen(project):
    code, out, _ = project("upgrade", "--dry-run")
    assert (code, "Would make the history store" in out) == (3, True)
    assert not list(project.folder.glob("*.db*"))
    project("upgrade")
    before = state(project)
    code, out, _ = project("upgrade", "--dry-run")
    assert (code, "Would wait:" in out, "0 of 2,000 mirrored pairs" in out) == (3, True, True)
    assert state(project) == before
    code, out, _ = project("downgrade", "--dry-run")
    assert (code, f"Would roll back {ROUTE}" in out) == (0, True)
    assert state(project) == before
    body = json.loads(project("downgrade", "--dry-run", "--format", "json")[1])
    assert (body["would_act"], body["dry_run"], body["routers"]) == (True, True, 0)
    project("downgrade", "--reason", "x")
    assert "this attempt was rolled back" in project("upgrade", "--dry-run")[1]
    assert "nothing to roll back" in project("downgrade", "--dry-run")[1]


def test_a_store_that_another_process_holds_is_waited_for_as_long_as_told(project):
    project("upgrade")
    holder = sqlite3.connect(project.folder / "llmmigrate.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    code, _, err = project("upgrade", "--lock-timeout", "200ms")
    holder.execute("ROLLBACK")
    holder.close()
    assert (code, "another process holds it" in err, "--lock-timeout" in err) == (1, True, True)
    assert project("upgrade", "--lock-timeout", "200")[0] == 2


def test_only_who_is_named_rolls_back_where_people_are_known(project, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.email")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "maria@example.com")
    project("upgrade")
    config = project.folder / "llmmigrate.toml"
    config.write_text(config.read_text() + '\n[groups]\non-call = ["ben@example.com"]\n')
    code, _, err = project("downgrade", "--reason", "x")
    assert (code, "is not of on-call" in err, "--break-glass" in err) == (2, True, True)
    assert project("downgrade", "--reason", "fire", "--break-glass")[0] == 0
    rows = json.loads(project("history", "--format", "json")[1])["history"]
    assert rows[-2]["reason"] == "break glass: fire"


def test_a_member_of_a_named_group_needs_no_glass(project, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.email")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "ben@example.com")
    project("upgrade")
    config = project.folder / "llmmigrate.toml"
    config.write_text(config.read_text() + '\n[groups]\non-call = ["ben@example.com"]\n')
    assert project("downgrade", "--reason", "x")[0] == 0


def test_status_for_prometheus_github_and_junit(project):
    project("upgrade")
    code, out, _ = project("status", "--format", "prometheus")
    assert code == 0
    families = {family.name: family for family in text_string_to_metric_families(out)}
    [share] = families["llmmigrate_candidate_share"].samples
    assert (share.labels["route"], share.value) == (ROUTE, 0.0)
    running = {s.labels["status"] for s in families["llmmigrate_status"].samples if s.value == 1}
    assert running == {"running"}
    assert {s.labels["verdict"] for s in families["llmmigrate_verdict"].samples if s.value == 1} == {"hold"}
    assert "::notice title=llmmigrate support::" in project("status", "--format", "github")[1]
    project("downgrade", "--reason", "too slow\n::error::forged")
    code, out, _ = project("status", "--format", "github", "--check", "healthy")
    assert (code, out.count("\n"), out.startswith("::error title=")) == (5, 1, True)
    suite = ET.fromstring(project("status", "--format", "junit")[1])
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


def test_status_and_doctor_say_what_is_missing_from_the_figures(project):
    project("upgrade")
    store = Store.open(f"sqlite:///{project.folder / 'llmmigrate.db'}")
    assert "missing" not in project("status")[1]
    payload = '{"v": 1, "cells": [], "covered": []}'
    store.telemetry.put_flush("one", 3, payload, at=store.now())
    with store.telemetry.writing() as connection:
        fold(connection)
    long_ago = store.real_now() - timedelta(minutes=1)
    store.telemetry.report_replica(Replica("one", "host", 1, long_ago, 30.0, {ROUTE: 1}))
    store.close()
    out = " ".join(project("status")[1].split())
    assert "2 flushes of routers never arrived" in out
    assert "1 routers were killed or are cut off" in out
    body = json.loads(project("status", "--format", "json")[1])
    assert (body["lost_flushes"], body["silent_replicas"]) == (2, 1)
    assert " ".join(project("doctor")[1].split()).count("missing") == 1


def test_an_acknowledged_rollback_is_healthy_until_the_next_attempt(project):
    project("upgrade")
    assert project("ack", ROUTE, "--reason", "x")[0] == 2
    project("downgrade", "--reason", "x")
    assert project("status", "--check", "healthy")[0] == 5
    assert project("ack", ROUTE, "--reason", "seen")[0] == 0
    code, out, _ = project("status", "--check", "healthy", "--format", "json")
    assert (code, json.loads(out)["healthy"]) == (0, True)
    project("upgrade", "--retry", "--reason", "again")
    assert not state(project).acknowledged
    project("downgrade", "--reason", "x")
    assert project("status", "--check", "healthy")[0] == 5


def test_a_hold_can_be_made_longer(project):
    project("upgrade")
    code, out, _ = project("extend", ROUTE, "--for", "12h", "--reason", "Monday")
    assert (code, "may hold 12h longer" in out) == (0, True)
    assert state(project).extended_s == 12 * 3600
    assert project("extend", ROUTE, "--for", "12", "--reason", "x")[0] == 2


def test_watch_tells_each_change_and_ends_with_the_attempt(project):
    project("upgrade")
    watching = subprocess.Popen(
        [sys.executable, "-m", "llmmigrate", "--format", "json", "watch", "--interval", "100ms"],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    first = json.loads(watching.stdout.readline())
    assert (first["status"], first["schema_version"]) == ("running", 1)
    project("downgrade", "--reason", "x")
    rest = [json.loads(line) for line in watching.communicate(timeout=60)[0].splitlines()]
    assert rest[-1]["status"] == "rolled_back"
    assert watching.returncode == 5


def test_history_of_some_revisions(project):
    project("stamp", ROUTE, "head")
    first = state(project).completed_revision
    new_code, _, _ = project("new", "-m", "On", "--route", ROUTE, "--to", "fake/third")
    assert new_code == 0
    project("upgrade")
    rows = json.loads(project("history", "--format", "json")[1])["history"]
    assert len(rows) == 3
    for between, count in [(f"{first}:{first}", 1), (f"{first[:5]}:head", 3), (f":{first}", 1), ("base:", 3)]:
        found = json.loads(project("history", "-r", between, "--format", "json")[1])["history"]
        assert len(found) == count, between
    assert project("history", "-r", "nonsense")[0] == 2
    assert project("history", "-r", "zzzz:head")[0] == 1
    assert project("history", "-v")[0] == 0


def test_documents_can_be_shown_and_edited(project, monkeypatch):
    code, out, _ = project("show")
    assert (code, document(project).read_text() in out, "# content " in out) == (0, True, True)
    body = json.loads(project("show", ROUTE, "--format", "json")[1])
    assert body["document"]["route"] == ROUTE
    editor = project.folder / "editor.py"
    editor.write_text("import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t.replace('7d', '8d'))")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    code, out, _ = project("edit")
    assert (code, "is valid" in out, "duration: 8d" in document(project).read_text()) == (0, True, True)
    editor.write_text("import sys; p = sys.argv[1]; open(p, 'w').write('route: [')")
    assert project("edit")[0] == 6
    monkeypatch.setenv("EDITOR", "/nowhere/editor")
    document(project).unlink()
    new(project)
    code, _, err = project("edit")
    assert (code, "cannot be started" in err) == (2, True)


def test_the_schema_is_printed_and_kept_up_to_date(project):
    printed = json.loads(project("schema")[1])
    assert printed == json.loads((project.folder / "migrations" / "migration.schema.json").read_text())
    (project.folder / "migrations" / "migration.schema.json").unlink()
    assert project("schema", "-o", "migrations")[0] == 0
    assert json.loads((project.folder / "migrations" / "migration.schema.json").read_text()) == printed
    assert project("schema", "-o", "nowhere/x.json")[0] == 2


def test_templates_are_listed_and_one_s_own_comes_first(project):
    shipped = {"generic", "version-bump", "provider-switch", "self-hosted", "small-traffic", "production"}
    names = {
        one["name"]: one["purpose"] for one in json.loads(project("--format", "json", "list-templates")[1])["templates"]
    }
    assert shipped <= set(names)
    assert all(names.values())
    own = project.folder / "mine" / "documents"
    own.mkdir(parents=True)
    (own / "ours.yaml.j2").write_text('{# Ours: two days. -#}\n{% extends "documents/_base.yaml.j2" %}')
    (project.folder / "llmmigrate.toml").write_text('templates = "mine"\ntemplate = "ours"\n')
    assert "Ours: two days." in project("list-templates")[1]
    assert new(project, route="other")[0] == 0
    (own / "evil.yaml.j2").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    code, _, err = project("new", "-m", "x", "--route", "third", "--from", "a/b", "--to", "c/d", "-t", "evil")
    assert (code, "cannot be rendered" in err) == (2, True)


@pytest.mark.parametrize(
    "template",
    [
        "generic",
        "version-bump",
        "provider-switch",
        "self-hosted",
        "small-traffic",
        "production",
        "demo",
        "quick",
        "real-demo",
    ],
)
def test_every_fresh_scaffold_passes_the_check_and_holds(project, template):
    document(project).unlink()
    assert new(project, "-t", template)[0] == 0
    code, out, err = project("check")
    assert code == 0, out + err
    code, out, _ = project("upgrade")
    assert code == 3
    assert "Waiting at" in out


def test_what_this_release_cannot_act_on_holds_by_name(project):
    document(project).unlink()
    new(project, "-t", "production")
    code, out, _ = project("upgrade")
    assert (code, "this release notifies nobody" in out or "has not been run" in out) == (3, True)
    assert state(project).phase == "regression"


def test_an_environment_has_a_store_of_its_own(project, monkeypatch):
    config = project.folder / "llmmigrate.toml"
    config.write_text(config.read_text() + '\n[environments.staging]\ndatabase_url = "env:STAGING_URL"\n')
    code, _, err = project("-n", "staging", "status")
    assert (code, "STAGING_URL is not set" in err) == (1, True)
    monkeypatch.setenv("STAGING_URL", "sqlite:///staging.db")
    assert project("-n", "staging", "upgrade")[0] == 3
    assert (project.folder / "staging.db").exists()
    assert not (project.folder / "llmmigrate.db").exists()
    code, _, err = project("-n", "nowhere", "status")
    assert (code, "there is no environment 'nowhere'; the configuration has staging" in err) == (1, True)


def test_the_doctor_finds_what_is_broken(project):
    code, out, _ = project("doctor")
    assert (code, "store: there is no history store" in out) == (0, True)
    project("upgrade")
    body = json.loads(project("doctor", "--format", "json")[1])
    found = {one["what"]: one["state"] for one in body["checks"]}
    assert (found["store"], found["history"], found["controller"], found["groups"]) == ("ok", "ok", "look", "look")
    document(project).write_text("broken: [")
    code, out, _ = project("doctor")
    assert (code, "broken  documents" in out) == (1, True)
    code, out, _ = project("--db", "postgresql://me:hidden@127.0.0.1:1/x", "doctor")
    assert (code, "hidden" in out) == (1, False)


def test_check_speaks_to_ci(project):
    assert project("check", "--format", "github")[1].startswith("::warning file=migrations/versions/")
    assert json.loads(project("check", "--format", "sarif")[1])["version"] == "2.1.0"
    assert ET.fromstring(project("check", "--format", "junit")[1]).tag == "testsuite"
    body = json.loads(project("check", "--format", "json")[1])
    assert (body["ok"], body["schema_version"], len(body["documents"])) == (True, 1, 1)
    assert "at 2 req/s: shadow 7 d" in project("check", "--rps", "2")[1]
    assert project("check", "--rps", "0")[0] == 2
    assert "Why:" in project("check", "--explain", "dep-01")[1]
    assert project("check", "--explain", "NOPE-1")[0] == 1
    assert project("check", "zzzz")[0] == 1
    assert project("check", ROUTE)[0] == 0


def test_a_document_that_follows_an_unfinished_one_says_so(project):
    assert "not completed" not in project("new", "-m", "m", "--route", "other", "--from", "fake/a", "--to", "fake/b")[1]
    assert project("upgrade", ROUTE)[0] == 3
    assert project("downgrade", ROUTE, "--reason", "x")[0] == 0
    code, out, _ = project("new", "-m", "On", "--route", ROUTE, "--to", "fake/third")
    assert (code, "which is rolled back, not completed: its current is that one's target" in out) == (0, True)


def test_notes_are_told_where_they_are_asked_for(project):
    pair = ("--from", "anthropic/claude-sonnet-4-5", "--to", "openai/gpt-4o")
    assert project("new", "-m", "m", "--route", "other", *pair)[0] == 0
    assert " note: " not in project("check")[1]
    assert " note: " in project("check", "-v")[1]


def test_a_check_without_a_project_is_red(project, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    code, _, err = project("check")
    assert (code, str(folder) in err) == (1, True)
    assert json.loads(project("check", "--format", "json")[1])["error"]["code"] == "settings"


def test_a_server_of_one_s_own_is_named_in_a_new_document(project):
    here, there = "http://old.internal/v1", "http://new.internal/v1"
    pair = ("--from", "hosted_vllm/old", "--to", "hosted_vllm/new")
    code, out, _ = project("new", "-m", "m", "--route", "own", *pair, "--api-base", there, "--from-api-base", here)
    assert (code, "SRV-01" in out) == (0, False)
    text = project("show", "own")[1]
    assert text.index(here) < text.index("target:") < text.index(there)
    assert project("new", "-m", "m", "--route", "own", "--to", "fake/x", "--from-api-base", here)[0] == 2
    code, out, _ = project("new", "-m", "m", "--route", "own", "--to", "hosted_vllm/newer")
    assert (code, "SRV-01" in out) == (0, True)


def test_a_mistyped_command_or_option_says_what_is_near(project):
    code, _, err = project("statsu")
    assert (code, "Did you mean status?" in err) == (2, True)
    assert project("upgrade", "--bogus")[0] == 2
    code, out, _ = project("--format", "json", "statsu")
    assert (code, json.loads(out)["error"]["code"]) == (2, "refused")


def test_signs_that_look_like_markup_stay_what_they_are(project):
    text = document(project).read_text().replace('message: "Move it"', 'message: "[red]canary:100: [/red] :smile:"')
    document(project).write_text(text.replace("rollback: [on-call]", 'approvers: {"canary:100": [nobody]}'))
    assert "owners.approvers.canary:100: nobody" in project("check")[1]
    assert "[red]canary:100: [/red] :smile:" in project("heads")[1]
    project("upgrade")
    project("pause", "--reason", "[bold]x[/bold] :100:")
    assert "paused: [bold]x[/bold] :100:" in project("status")[1]


def test_shell_completion_names_the_commands(project):
    environment = {
        **os.environ,
        "_LLMMIGRATE_COMPLETE": "complete_bash",
        "COMP_WORDS": "llmmigrate st",
        "COMP_CWORD": "1",
    }
    script = "from llmmigrate.cli import main; import sys; sys.argv = ['llmmigrate']; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, cwd=project.folder
    )
    assert set(done.stdout.split()) == {"status", "stamp"}


def test_looking_loads_no_statistics_and_no_model_of_what_was_applied(project):
    project("upgrade")
    for command in (["status"], ["history"], ["current"], ["heads"], ["check"], ["--help"]):
        script = (
            f"import sys; sys.argv = ['llmmigrate', *{command!r}]\n"
            "from llmmigrate.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "print([m for m in ('litellm', 'numpy', 'scipy', 'alembic') if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]", command


def test_an_environment_s_url_is_never_shown_with_its_password():
    from llmmigrate.store.engine import parse_url

    assert "hidden" not in parse_url("postgresql://me:hidden@h/x").render_as_string(hide_password=True)


def test_a_paused_route_waits_for_its_person_whoever_looks(world):
    world.write()
    world.upgrade()
    ask.pause(world.store, ROUTE, actor="t", reason="x")
    [looked] = Controller(world.store, world.graph, actor="t").once()
    assert looked.tick.state.status == "paused"
    assert settings.load(world.folder / settings.CONFIG_NAME, environ={}).template == "generic"


def test_one_broken_document_stops_its_route_only(project):
    new(project, route="billing")
    for route in (ROUTE, "billing"):
        assert project("upgrade", route)[0] == 3
    [file] = [f for f in document(project).parent.glob("*.yaml") if "route: billing" in f.read_text()]
    file.write_text("route: billing\nrevision: [")
    code, out, err = project("status")
    assert (code, f"{ROUTE} " in out, "shadow" in out) == (6, True, True)
    assert f"{file.name}:3:" in out + err
    assert "llmmigrate downgrade ROUTE" in err
    assert project("status", ROUTE)[0] == 0
    assert project("upgrade", ROUTE)[0] == 3
    assert project("upgrade", "billing")[0] == 6
    code, _, err = project("run", "--once")
    assert (code, "error: billing: " in err, f"error: {ROUTE}" in err) == (6, True, False)
    body = json.loads(project("status", "--format", "json")[1])
    assert (body["healthy"], [one["code"] for one in body["unreadable"]]) == (False, ["document_invalid"])
    file.write_text("?")
    assert project("status", ROUTE)[0] == 0
    assert project("status")[0] == 6
    assert project("downgrade", "billing", "--reason", "x")[0] == 0


def test_history_names_what_was_undone(project):
    first = json.loads(project("show", "--format", "json")[1])["revision"]
    project("stamp", ROUTE, "head")
    project("new", "-m", "On", "--route", ROUTE, "--to", "fake/third")
    project("upgrade")
    project("downgrade", ROUTE, "--reason", "slow")
    assert project("downgrade", "-1", "--expect", first, "--reason", "complaints")[0] == 0
    rows = json.loads(project("history", "--format", "json")[1])["history"]
    assert [row["revision"] for row in rows[-2:]] == [first, first]
    assert rows[-2]["reason"] == f"from {first} down to base: complaints"
    assert "None" not in project("history")[1]
    code, out, _ = project("status")
    assert (code, f"{first}" in out, "stands on base, served by fake/old" in out) == (0, True, True)
    assert project("upgrade", f"{ROUTE}@+1", "--retry", "--reason", "again")[0] == 3
    assert (state(project).revision, state(project).completed_revision) == (first, None)
    assert project("history", "--verify")[0] == 0


def test_what_is_foretold_is_what_would_be_refused(project):
    project("upgrade")
    assert project("downgrade", "--dry-run", "--to", "canary:7")[0] == 2
    text = document(project).read_text()
    document(project).write_text(text.replace("above: 5%", "above: 9%"))
    code, _, err = project("upgrade", "--dry-run")
    assert (code, "llmmigrate repair" in err) == (6, True)
    document(project).write_text(text)
    project("downgrade", "--reason", "x")
    revision = json.loads(project("show", "--format", "json")[1])["revision"]
    code, _, err = project("downgrade", revision, "--reason", "x")
    assert (code, "below" in err) == (2, True)


def test_a_route_whose_only_document_is_gone_is_not_green(project):
    document(project).unlink()
    assert project("check")[0] == 6
    assert project("heads")[0] == 6
    assert project("history", "-r", "head:base")[0] != 0
