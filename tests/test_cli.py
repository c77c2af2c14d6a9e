"""The command line: words, exit codes and JSON that scripts rely on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmmigrate import Router, Usage, __version__
from llmmigrate.runner import downgrade
from llmmigrate.store import Store
from tests.conftest import ROUTE


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command as a user would, in a folder of its own; return (code, stdout, stderr)."""
    monkeypatch.delenv("LLMMIGRATE_DATABASE_URL", raising=False)
    monkeypatch.delenv("LLMMIGRATE_CONFIG", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()

    def command(*arguments, cwd=folder):
        done = subprocess.run(
            [sys.executable, "-m", "llmmigrate", *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    command.folder = folder
    return command


NEW = ("new", "-m", "Move it", "--route", ROUTE, "--from", "fake/old", "--to", "fake/new")


@pytest.fixture
def project(run):
    assert run("init")[0] == 0
    assert run(*NEW)[0] == 0
    return run


def test_the_first_minutes(run):
    code, out, _ = run("init")
    assert code == 0
    assert "Next: llmmigrate new" in out
    code, out, _ = run(*NEW)
    assert code == 0
    assert "Created migrations/versions/" in out
    assert "Next: edit it, then llmmigrate check" in out
    code, out, _ = run("status")
    assert (code, "pending" in out) == (0, True)
    assert not list(run.folder.glob("*.db"))
    code, out, _ = run("upgrade")
    assert code == 3
    assert "regression → shadow" in out
    assert 'router.assign("support"' in out
    assert "0 of 2,000 mirrored pairs" in out
    assert "llmmigrate run" in out
    code, out, _ = run("status")
    assert code == 0
    assert "shadow" in out
    assert "hold" in out
    code, out, _ = run("downgrade", "--reason", "enough")
    assert code == 0
    assert "rolled_back" in out
    code, out, _ = run("downgrade", "--reason", "enough")
    assert (code, out) == (0, "support: nothing to roll back (rolled_back).\n")
    code, out, _ = run("history")
    assert code == 0
    assert out.count("support") == 4
    assert "enough" in out
    assert run("upgrade")[0] == 5


def test_status_json_has_its_stable_keys(project):
    project("upgrade")
    code, out, _ = project("status", "--format", "json")
    body = json.loads(out)
    assert code == 0
    assert body["schema_version"] == 1
    [route] = body["routes"]
    expected = {"route", "revision", "head", "attempt", "phase", "step", "status", "candidate_share", "generation"}
    expected |= {"control", "candidate", "since", "verdict", "waiting_for", "metrics", "head_hash"}
    assert expected <= set(route)
    assert (route["phase"], route["step"], route["status"], route["verdict"]) == ("shadow", None, "running", "hold")
    assert route["waiting_for"][0]["kind"] == "data"
    assert json.loads(project("--format", "json", "status")[1]) == body


def test_status_never_makes_a_store_and_a_check_without_one_is_no_success(project):
    assert project("status")[0] == 0
    code, _, err = project("status", "--check", "healthy")
    assert code == 1
    assert "no history store" in err
    assert project("--db", "sqlite:///mistyped.db", "status", "--check", "head")[0] == 1
    assert not list(project.folder.glob("*.db"))


def test_checks_answer_with_their_codes(project, world):
    assert project("upgrade", "--allow-hold")[0] == 0
    assert project("status", "--check", "healthy")[0] == 0
    assert project("status", "--check", "head")[0] == 3
    file = next((project.folder / "migrations" / "versions").glob("*.yaml"))
    text = file.read_text()
    file.write_text(text.replace("above: 5%", "above: 9%"))
    assert project("status", "--check", "healthy")[0] == 6
    code, _, err = project("upgrade")
    assert code == 6
    assert "was edited after it was applied" in err
    file.write_text(text)
    project("downgrade", "--reason", "x")
    assert project("status", "--check", "healthy")[0] == 5


def test_a_broken_document_is_unfit_with_its_place(project):
    file = next((project.folder / "migrations" / "versions").glob("*.yaml"))
    file.write_text(file.read_text().replace("duration: 14d", "duration: 14"))
    code, _, err = project("upgrade")
    assert code == 6
    assert f"{file.name}:" in err
    assert "observation.duration" in err
    code, out, _ = project("--format", "json", "upgrade")
    assert code == 6
    assert json.loads(out)["error"]["problems"][0]["path"] == "observation.duration"
    assert not list(project.folder.glob("*.db"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("upgrade", "nowhere"), 1, "no route or revision 'nowhere'"),
        (("history", "nowhere"), 1, "no route 'nowhere'"),
        (("downgrade", "--reason", "x"), 1, "no history store at sqlite:///"),
        (("status", "nowhere"), 1, "no route 'nowhere'"),
        (("downgrade",), 2, "recorded with its reason"),
        (("upgrade", "--retry"), 2, "recorded with its reason"),
        (("frobnicate",), 2, "No such command"),
        (("upgrade", "--frob"), 2, "No such option"),
        (("upgrade", "base"), 2, "nothing to upgrade to"),
        (("upgrade", "-1"), 2, "-1 leads down"),
        (("upgrade", "+2"), 1, "'+2' leads past the head of route support, 1 step above base"),
        (("upgrade", "support@+2"), 1, "leads past the head"),
        (("upgrade", "abc"), 1, "4 characters of a revision are the least"),
        (("stamp", ROUTE), 2, "say where the route stands"),
        (("stamp", ROUTE, "+2"), 1, "leads past the head"),
        (("stamp", ROUTE, "other@head"), 2, "say where the route stands"),
        (("heads", "nowhere"), 1, "no route 'nowhere'"),
        (("current", "nowhere"), 1, "no route 'nowhere'"),
        (("rebase", "nowhere"), 1, "no route or revision 'nowhere'"),
        (("rebase", "--frob", "abcd"), 2, "No such option"),
        (("--db", "nonsense", "upgrade"), 1, "database URL cannot be read"),
        (("--db", "env:LLMMIGRATE_NOT_SET", "upgrade"), 1, "LLMMIGRATE_NOT_SET is not set"),
        (("-c", "none.toml", "status"), 1, "no configuration at none.toml"),
        (("init",), 2, "exists already"),
        (("new", "-m", "x", "--route", "../x", "--from", "a/b", "--to", "c/d"), 6, "route"),
        (("new", "-m", "x", "--route", "other", "--to", "c/d"), 2, "add --from"),
        (("new", "-m", "x", "--route", ROUTE, "--from", "a/b", "--to", "c/d"), 2, "stands on fake/new"),
        (("new", "-m", "x", "--route", ROUTE, "--to", "c/d", "-t", "../../x"), 1, "no template"),
        (("new", "-m", "x", "--route", ROUTE, "--to", "fake/new"), 6, "nothing to migrate"),
        (("demo", "--data", "none"), 2, "there is no folder none"),
    ],
)
def test_wrong_input_is_one_clear_message_and_nothing_written(project, arguments, code, words):
    before = sorted(project.folder.rglob("*"))
    found, out, err = project(*arguments)
    assert found == code, (out, err)
    assert words in err
    assert sorted(path for path in project.folder.rglob("*") if ".db" not in path.name) == before


def test_hostile_words_stay_words_in_a_document(run):
    run("init")
    message = 'x"\nrollback: []\n{{ 99991*99989 }} {% raw %} #: \u202e'
    code, _, err = run("new", "-m", message, "--route", ROUTE, "--from", "a: b", "--to", "c # d\n- e")
    assert code == 0, err
    [file] = (run.folder / "migrations" / "versions").glob("*.yaml")
    assert str(99991 * 99989) not in file.read_text()
    code, out, _ = run("status", "--format", "json")
    assert json.loads(out)["routes"][0]["control"] == "a: b"


def test_a_chain_of_documents_needs_no_from(project):
    code, _, err = project("new", "-m", "On", "--route", ROUTE, "--to", "fake/third")
    assert code == 0, err
    files = sorted((project.folder / "migrations" / "versions").glob("*.yaml"), key=lambda f: f.stat().st_mtime)
    assert "fake/new" in files[-1].read_text()


def test_the_database_url_may_stand_in_the_environment(project, monkeypatch):
    monkeypatch.setenv("LLMMIGRATE_DATABASE_URL", "sqlite:///elsewhere.db")
    project("upgrade")
    assert (project.folder / "elsewhere.db").exists()
    assert (project.folder / "elsewhere.telemetry.db").exists()


def test_a_project_may_be_configured_in_pyproject(run):
    (run.folder / "pyproject.toml").write_text('[tool.llmmigrate]\nmigrations = "models"\n')
    assert run(*NEW)[0] == 0
    assert list((run.folder / "models" / "versions").glob("*.yaml"))


def test_version_and_help():
    for arguments, words in [(["--version"], __version__), (["--help"], "upgrade"), ([], "Usage")]:
        done = subprocess.run(
            [sys.executable, "-m", "llmmigrate", *arguments], capture_output=True, text=True, check=False
        )
        assert words in done.stdout + done.stderr


def test_looking_loads_neither_statistics_nor_litellm(world):
    world.write()
    world.upgrade()
    downgrade(world.store, ROUTE, actor="t", reason="x")
    script = (
        "import sys; from llmmigrate.cli.main import app\n"
        "for command in (['status'], ['history'], ['current'], ['heads'], ['--help']):\n"
        "    try: app(['-c', sys.argv[1], *command])\n"
        "    except SystemExit: pass\n"
        "print([m for m in ('numpy', 'scipy', 'litellm', 'alembic') if m in sys.modules])"
    )
    config = str(world.folder / "llmmigrate.toml")
    done = subprocess.run([sys.executable, "-c", script, config], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_history_works_in_a_fresh_clone():
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "llmmigrate", "status"], cwd=root, capture_output=True, text=True, check=True
    )
    assert "support-agent" in done.stdout


def started(project):
    assert project("upgrade")[0] == 3


@pytest.mark.parametrize("harm", ["gone", "empty", "garbage"])
def test_a_lost_telemetry_store_stops_neither_rollback_nor_history(project, harm):
    started(project)
    file = project.folder / "llmmigrate.telemetry.db"
    for part in project.folder.glob("llmmigrate.telemetry.db*"):
        part.unlink()
    if harm != "gone":
        file.write_bytes(b"" if harm == "empty" else b"garbage" * 5000)
    code, out, _ = project("status", "--format", "json")
    assert code == 0
    assert json.loads(out)["routes"][0]["phase"] == "shadow"
    assert file.exists() == (harm != "gone")
    code, out, err = project("downgrade", "--reason", "x")
    assert code == (1 if harm == "garbage" else 0), (out, err)
    body = json.loads(project("status", "--format", "json")[1])["routes"][0]
    assert body["status"] == ("rolling_back" if harm == "garbage" else "rolled_back")
    assert body["candidate"] is None
    assert "rolling_back" in project("history")[1]
    assert project("history", "--verify")[0] == 0


def test_a_mistyped_store_is_never_nothing_to_roll_back(project):
    started(project)
    for url in ("sqlite:///typo.db", "sqlite:///nodir/typo.db"):
        code, out, err = project("--db", url, "downgrade", ROUTE, "--reason", "incident")
        assert (code, "typo.db" in err) == (1, True), out
    (project.folder / "empty.db").touch()
    assert project("--db", "sqlite:///empty.db", "downgrade", ROUTE, "--reason", "incident")[0] == 1


@pytest.mark.parametrize("harm", ["beside", "spoilt", "another", "gone"])
def test_upgrade_rolls_back_although_documents_cannot_be_read(run, harm):
    """A candidate that fails in shadow is rolled back whatever lies beside, or instead of, its document."""
    run("init")
    run(*NEW)
    assert run("upgrade")[0] == 3
    store = Store.open(f"sqlite:///{run.folder / 'llmmigrate.db'}")
    with Router(store=store, background=False) as router:
        for number in range(60):
            decision = router.assign(ROUTE, unit=f"u{number}")
            router.observe(decision, usage=Usage(5, 5))
            router.observe(decision.mirror, error_class="timeout")
    store.close()
    [file] = (run.folder / "migrations" / "versions").glob("*.yaml")
    if harm == "beside":
        (file.parent / "wip.yaml").write_text("revision: [")
    elif harm == "spoilt":
        file.write_text("route: support\nrevision: [")
    elif harm == "gone":
        file.unlink()
    else:
        run("new", "-m", "x", "--route", "billing", "--from", "a/b", "--to", "c/d")
    code, out, err = run("upgrade")
    assert code == {"beside": 5, "spoilt": 6, "another": 1, "gone": 1}[harm]
    assert "rolled_back" in out + err
    assert json.loads(run("--format", "json", "history")[1])["history"][-1]["to_status"] == "rolled_back"


def test_json_is_one_object_whatever_goes_wrong(project):
    started(project)
    file = next((project.folder / "migrations" / "versions").glob("*.yaml"))
    file.write_text(file.read_text().replace("above: 5%", "above: 9%"))
    code, out, _ = project("upgrade", "--format", "json")
    assert code == 6
    assert json.loads(out)["error"]["code"] == "document_edited"
    for arguments in (["--format", "json", "bogus"], ["upgrade", "--format", "json", "--bogus"]):
        code, out, _ = project(*arguments)
        assert (code, json.loads(out)["error"]["code"]) == (2, "refused")


def test_a_terminal_without_signs_gets_letters(project, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("LC_ALL", "C")
    code, out, _ = project("upgrade")
    assert (code, "regression -> shadow" in out) == (3, True)
    assert project("status")[0] == 0
    project("downgrade", "--reason", "très lent")
    assert json.loads(project("--format", "json", "history")[1])["history"][-2]["reason"]


def test_a_table_that_nobody_reads_on_is_no_error(project):
    started(project)
    command = f"{sys.executable} -m llmmigrate history | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=project.folder, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)


@pytest.mark.parametrize("word", ["head", "heads", "base", "current"])
def test_words_with_a_meaning_are_neither_revisions_nor_routes(run, word):
    run("init")
    assert run(*NEW, "--rev-id", word)[0] == 6
    assert run("new", "-m", "x", "--route", word, "--from", "a/b", "--to", "c/d")[0] == 6


def test_a_project_of_two_routes_wants_a_name(project):
    project("new", "-m", "x", "--route", "billing", "--from", "a/b", "--to", "c/d")
    code, _, err = project("upgrade")
    assert (code, "name a route: there are 2 (billing, support)" in err) == (1, True)
    assert project("run", "--once")[0] == 0
    assert json.loads(project("status", "--format", "json")[1])["routes"][0]["phase"] == "shadow"


def test_groups_approvals_and_names(project):
    config = project.folder / "llmmigrate.toml"
    file = next((project.folder / "migrations" / "versions").glob("*.yaml"))
    file.write_text(file.read_text().replace("rollback: [on-call]", "approvers: {shadow: [ml-leads]}"))
    code, out, _ = project("upgrade")
    assert (code, "ml-leads must approve shadow" in out) == (3, True)
    assert project("approve", "--phase", "shadow")[0] == 2
    config.write_text(config.read_text() + '\n[groups]\nml-leads = ["maria@example.com"]\n')
    code, _, err = project("--as", "maria@example.com", "approve", "--phase", "shadow")
    assert (code, "belongs to no group" in err) == (2, True)
    config.write_text("trust_as = true\n" + config.read_text())
    assert project("--as", "maria@example.com", "approve", "--phase", "shadow", "--comment", "seen")[0] == 0
    code, out, _ = project("upgrade")
    assert (code, "regression → shadow" in out) == (3, True)
    rows = json.loads(project("--format", "json", "history")[1])["history"]
    assert [(row["event"], row["actor"]) for row in rows][1] == ("approved", "maria@example.com (unverified)")


def test_downgrade_by_revision_and_by_one(project):
    code, out, err = project("stamp", ROUTE, "head")
    assert code == 0, err
    first = json.loads(project("--format", "json", "status")[1])["routes"][0]["completed_revision"]
    code, _, err = project("downgrade", "-1", "--reason", "x")
    assert (code, f"--expect {first}" in err) == (2, True)
    assert project("downgrade", ROUTE, "--reason", "x")[1] == f"{ROUTE}: nothing to roll back (completed).\n"
    code, out, _ = project("downgrade", "-1", "--reason", "x", "--expect", first[:6])
    assert (code, "rolled_back" in out) == (0, True)
    body = json.loads(project("--format", "json", "status")[1])["routes"][0]
    assert (body["completed_revision"], body["control"]) == (None, "fake/old")
    code, _, err = project("downgrade", "base", "--reason", "x", "--expect", first)
    assert code == 0


def test_the_store_s_own_commands(project):
    assert project("db", "current")[0] == 1
    assert project("ensure-version")[0] == 0
    code, out, _ = project("db", "current")
    assert (code, "control: c001" in out) == (0, True)
    assert "is at" in project("db", "upgrade")[1]
    assert project("db", "purge", "--before", "30d")[0] == 0
    assert project("db", "purge", "--before", "30")[0] == 2


def test_pause_resume_and_repair_by_hand(project):
    assert project("pause", "--reason", "x")[0] == 1
    started(project)
    assert project("pause", "--reason", "launch")[0] == 0
    assert project("upgrade")[0] == 4
    assert project("status", "--check", "healthy")[0] == 4
    assert project("resume", "--reason", "over")[0] == 0
    file = next((project.folder / "migrations" / "versions").glob("*.yaml"))
    file.write_text(file.read_text().replace("above: 5%", "above: 9%"))
    revision = json.loads(project("--format", "json", "status")[1])["routes"][0]["revision"]
    assert project("repair", revision[:5], "--reason", "typo")[0] == 0
    assert project("status", "--check", "healthy")[0] == 0
    assert project("upgrade", "--accept-risk", "tokens_per_request", "--reason", "known")[0] == 3
    assert project("upgrade", "--accept-risk", "nonsense", "--reason", "known")[0] == 2
    assert project("upgrade", "--unattended", "--reason", "small")[0] == 3


TARGET_COMMANDS = ["upgrade", "downgrade", "stamp", "repair", "approve", "pause", "resume"]


@pytest.mark.parametrize("command", TARGET_COMMANDS)
def test_every_command_with_a_target_takes_steps_and_no_mistyped_option(project, command):
    options = {"approve": ["--phase", "shadow"], "upgrade": []}.get(command, ["--reason", "x"])
    for bogus in ("--bogus", "-x", "-1x", "--bogus=1"):
        code, _, err = project(command, bogus, *options)
        assert code == 2, err
        assert "No such option" in err
    for steps in ("-1", f"{ROUTE}@-1", "+1", f"{ROUTE}@+1"):
        _, _, err = project(command, steps, *options)
        assert "No such option" not in err
        assert "Usage" not in err


def revisions(project):
    code, out, _ = project("heads", "--format", "json")
    return code, {one["route"]: [h["revision"] for h in one["heads"]] for one in json.loads(out)["routes"]}


def add(project, target, *options, route=ROUTE):
    assert project("new", "-m", target, "--route", route, "--to", target, *options)[0] == 0


def test_relative_targets_count_from_what_a_route_stands_on(project):
    add(project, "fake/b", "--rev-id", "second")
    add(project, "fake/c", "--rev-id", "third")
    assert project("stamp", ROUTE, "head-2")[0] == 0
    first = json.loads(project("current", "--format", "json")[1])["routes"][0]["completed_revision"]
    code, out, _ = project("upgrade", "+1", "--format", "json")
    assert (code, json.loads(out)["revision"]) == (3, "second")
    code, out, _ = project("current", "--format", "json")
    [route] = json.loads(out)["routes"]
    assert (code, route["completed_revision"], route["at_head"]) == (0, first, False)
    attempt = {"revision": "second", "attempt": 1, "phase": "shadow", "status": "running"}
    assert (route["heads"], route["attempt"]) == (["third"], attempt)
    assert f"{first} second shadow running" in re.sub(" +", " ", project("current")[1])
    code, _, err = project("downgrade", "-2", "--reason", "x")
    assert (code, f"--expect {first}" in err) == (2, True)
    code, out, _ = project("current", "--format", "json")
    assert json.loads(out)["routes"][0]["attempt"] is None
    assert project("stamp", f"{ROUTE}@head")[0] == 0
    assert "third (head)" in project("current")[1]
    assert project("downgrade", f"{ROUTE}@-1", "--reason", "x", "--expect", "thir")[0] == 0
    assert json.loads(project("current", "--format", "json")[1])["routes"][0]["completed_revision"] == "second"
    assert project("downgrade", "+1", "--reason", "x")[0] == 2


def test_a_revision_that_is_approved_or_paused_is_the_one_under_way(project):
    add(project, "fake/b", "--rev-id", "second")
    [_, routes] = revisions(project)
    assert routes == {ROUTE: ["second"]}
    assert project("upgrade")[0] == 3
    first = json.loads(project("current", "--format", "json")[1])["routes"][0]["attempt"]["revision"]
    code, _, err = project("pause", "second", "--reason", "x")
    assert (code, f"not of second: it is of {first}" in err) == (2, True)
    assert project("pause", f"{ROUTE}@{first[:5]}", "--reason", "x")[0] == 0
    assert project("resume", "+1", "--reason", "x")[0] == 0
    (project.folder / "llmmigrate.toml").write_text('trust_as = true\n[groups]\nml-leads = ["maria@example.com"]\n')
    code, _, err = project("--as", "maria@example.com", "approve", "second", "--phase", "canary:5")
    assert (code, f"not of second: it is of {first}" in err) == (2, True)
    code, _, err = project("--as", "maria@example.com", "approve", first, "--phase", "canary:5")
    assert (code, "needs nobody's approval" in err) == (2, True)
    [file] = (project.folder / "migrations" / "versions").glob("*move_it.yaml")
    file.write_text("revision: [")
    assert project("pause", first, "--reason", "documents cannot be read")[0] == 0
    project("downgrade", "--reason", "x")
    assert project("pause", ROUTE, "--reason", "x")[0] == 2


def test_a_fault_of_one_route_shows_and_stops_no_other(project):
    add(project, "c/d", "--from", "a/b", route="billing")
    versions = project.folder / "migrations" / "versions"
    [file] = versions.glob("*move_it.yaml")
    own = next(line for line in file.read_text().splitlines() if line.startswith("revision:")).split()[1]
    (versions / "twin.yaml").write_text(file.read_text().replace(own, "twin1"))
    code, out, _ = project("status", "--format", "json")
    body = {one["route"]: one for one in json.loads(out)["routes"]}
    assert (code, body["billing"]["unfit"], body["billing"]["head"] is None) == (0, None, False)
    assert "route support has 2 heads" in body[ROUTE]["unfit"]
    code, out, _ = project("status")
    assert "has 2 heads" in out
    assert "llmmigrate rebase" in out
    assert project("upgrade", "billing")[0] == 3
    assert project("status", "--check", "healthy")[0] == 6
    code, out, _ = project("upgrade", ROUTE, "--format", "json")
    assert (code, json.loads(out)["error"]["code"], json.loads(out)["error"]["route"]) == (6, "multiple_heads", ROUTE)
    code, out, _ = project("run", "--once", "--format", "json")
    assert (code, [one["phase"] for one in json.loads(out)["routes"]]) == (6, ["shadow", None])
    assert project("downgrade", "billing", "--reason", "x")[0] == 0


def test_heads_and_current_need_no_store_and_make_none(project):
    code, out, _ = project("heads")
    assert (code, "(head)" in out, "_move_it.yaml" in out, "Move it" in out) == (0, True, True, True)
    code, out, _ = project("current")
    assert (code, "base" in out) == (0, True)
    assert not list(project.folder.glob("*.db"))


def test_an_empty_project_says_how_to_begin(run):
    run("init")
    for command in ("heads", "current", "status"):
        assert "Next: llmmigrate new" in run(command)[1]


def test_two_heads_are_marked_and_one_is_rebased(project):
    versions, heads = project.folder / "migrations" / "versions", project.folder / "migrations" / "heads"
    add(project, "fake/b", "--rev-id", "mine0")
    [mine] = versions.glob("*mine0*.yaml")
    mine.rename(versions / "mine.aside")
    add(project, "fake/c", "--rev-id", "theirs")
    (versions / "mine.aside").rename(mine)
    (heads / ROUTE).write_text("<<<<<<< HEAD\nmine0\n=======\ntheirs\n>>>>>>> theirs\n")
    code, out, err = project("heads")
    assert (code, out.count("(one of 2 heads)")) == (6, 2)
    assert "has 2 heads: mine0, theirs" in err
    assert "is in conflict" in err
    code, out, _ = project("heads", "--format", "json")
    assert (code, [fault["code"] for fault in json.loads(out)["faults"]]) == (6, ["multiple_heads", "graph"])
    code, out, _ = project("rebase", "thei")
    assert (code, "theirs follows mine0 now: fake/b → fake/c" in out, "Next: review" in out) == (0, True, True)
    assert (heads / ROUTE).read_text() == "theirs\n"
    assert revisions(project) == (0, {ROUTE: ["theirs"]})
    assert project("rebase", "theirs")[0] == 2
    assert not list(project.folder.glob("*.db"))


def test_an_applied_head_is_not_rebased(project):
    versions = project.folder / "migrations" / "versions"
    [first] = versions.glob("*.yaml")
    own = next(line for line in first.read_text().splitlines() if line.startswith("revision:")).split()[1]
    assert project("upgrade")[0] == 3
    text = first.read_text().replace(own, "twin1").replace("fake/new", "fake/other")
    (versions / "twin.yaml").write_text(text)
    code, _, err = project("rebase", own)
    assert (code, f"{own} was applied already" in err, "llmmigrate rebase twin1" in err) == (2, True, True)
    code, out, _ = project("rebase", "twin1", "--format", "json")
    assert (code, json.loads(out)["down_revision"], json.loads(out)["head"]) == (0, own, "twin1")
    assert project("status", "--check", "healthy")[0] == 0


def test_a_rollback_to_base_reads_no_document(project):
    assert project("stamp", ROUTE, "head")[0] == 0
    first = json.loads(project("current", "--format", "json")[1])["routes"][0]["completed_revision"]
    for file in (project.folder / "migrations" / "versions").glob("*.yaml"):
        file.write_text("revision: [")
    assert project("downgrade", f"{ROUTE}@base", "--reason", "x", "--expect", first[:4])[0] == 0
