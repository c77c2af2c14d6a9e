"""The check finds what is wrong before any traffic, at its place, in every form that CI systems read."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from llmmigrate import preflight, scaffold, settings
from llmmigrate.document import load_folder
from llmmigrate.exceptions import SettingsError
from llmmigrate.graph import Graph
from llmmigrate.models import costmap
from llmmigrate.preflight import RULES, family, formats
from llmmigrate.preflight.deadlines import timetable
from llmmigrate.stages import plan_of
from tests.conftest import ROUTE

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def found(world, **options):
    return preflight.check(world.config, now=NOW, **options)


def rules(report):
    return [finding.rule for finding in report.findings]


def edit(world, old, new):
    [file] = world.config.versions.glob("*.yaml")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


def test_a_fresh_document_has_warnings_and_no_error(world):
    world.write(template="generic")
    report = found(world)
    assert report.errors == []
    assert rules(report) == ["DEP-02", "DEP-02", "WVD-01"]
    [table] = report.timetables.values()
    assert [name for name, _ in table.stages] == [
        "shadow",
        "canary:5",
        "canary:25",
        "canary:50",
        "canary:100",
        "observation",
    ]
    assert table.ends_at - NOW == timedelta(days=7 + 1 + 14)


def test_an_invalid_document_is_found_with_every_problem_and_its_place(world):
    world.write(template="generic")
    edit(world, "duration: 14d", "duration: 14")
    edit(world, "traffic: 5%", "traffic: 5")
    report = found(world)
    assert {(one.rule, one.path) for one in report.errors} == {
        ("DOC-01", "observation.duration"),
        ("DOC-01", "canary.steps[0].traffic"),
    }
    assert all(one.line > 1 and one.file.startswith("migrations/versions/") for one in report.errors)


@pytest.mark.parametrize(
    ("retires", "rule", "words"),
    [
        ("2026-11-25", "DEP-01", "retired on"),
        ("2026-12-10", "DEP-01", "before the way back closes"),
        ("2026-12-17", "DEP-01", "before the way back closes"),
        ("2027-06-01", None, ""),
    ],
)
@pytest.mark.parametrize("side", ["current", "target"])
def test_a_model_must_outlive_the_way_back(world, side, retires, rule, words):
    world.write(template="generic")
    edit(world, f'model: "fake/{"old" if side == "current" else "new"}"', f"model: fake/x{side}\n  retires: {retires}")
    report = found(world)
    assert [one.rule for one in report.errors] == ([rule] if rule else [])
    assert not rule or (words in report.errors[0].message and report.errors[0].path == f"{side}.model")


def test_documents_of_a_line_follow_each_other_in_time(world):
    world.write(template="generic")
    world.write(template="generic", target="fake/third")
    tables = list(found(world).timetables.values())
    assert tables[1].starts_at == tables[0].ends_at


def test_little_traffic_takes_longer():
    document = load_folder_of_examples()
    plan = plan_of(document.migration)
    quick, slow = (timetable(plan, starts_at=NOW, per_second=rate) for rate in (10.0, 0.01))
    assert slow.ends_at > quick.ends_at + timedelta(days=5)
    assert dict(slow.stages)["canary:5"] == pytest.approx(300 / (0.01 * 0.05))


def load_folder_of_examples():
    from pathlib import Path

    return load_folder(Path(__file__).parents[1] / "migrations" / "versions", root=Path(__file__).parents[1])[0]


def test_an_edited_applied_document_is_found_by_the_store(world):
    world.write()
    world.upgrade()
    states = {state.route: state for state in world.store.routes()}
    assert "EDT-01" not in rules(found(world, states=states))
    edit(world, "above: 5%", "above: 9%")
    assert [one.rule for one in found(world, states=states).errors] == ["EDT-01"]


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_merged_document_may_change_only_where_it_was_never_applied(world):
    revision = world.write()
    git(world.folder, "init", "-q")
    git(world.folder, "add", ".")
    git(world.folder, "commit", "-qm", "x")
    file = edit(world, "# what the route runs on now; control", "# another comment")
    assert found(world, git_base="HEAD").errors == []
    edit(world, "above: 5%", "above: 9%")
    assert [one.rule for one in found(world, git_base="HEAD").errors] == ["EDT-02"]
    assert found(world, git_base="HEAD", applied=set()).errors == []
    assert [one.rule for one in found(world, git_base="HEAD", applied={revision}).errors] == ["EDT-02"]
    file.unlink()
    assert {one.rule: "is gone" in one.message for one in found(world, git_base="HEAD").errors} == {
        "EDT-02": True,
        "GRA-02": False,
    }


@pytest.mark.parametrize("base", ["nowhere", "--output=x", ""])
def test_a_base_that_git_does_not_know_is_a_clear_error(world, base):
    from llmmigrate.exceptions import SettingsError

    world.write()
    git(world.folder, "init", "-q")
    with pytest.raises(SettingsError, match="git"):
        found(world, git_base=base)


def test_what_this_release_cannot_act_on_is_a_warning_at_its_place(world):
    world.write(template="production")
    report = found(world)
    assert report.errors == []
    lacking = {one.path for one in report.findings if one.rule == "SUP-01"}
    assert {"monitoring.notify", "observation.drill_every"} <= lacking
    assert (world.folder / "regression" / f"{ROUTE}.yaml").is_file()


def test_files_groups_judges_and_owners_are_looked_at(world):
    world.write(template="production", current="anthropic/claude-own", target="openai/gpt-5.1")
    (world.folder / "rubrics" / f"{ROUTE}.md").unlink()
    edit(world, "rollback: [on-call, ml-leads]", "rollback: []")
    [document] = load_folder(world.config.versions, root=world.config.root)
    judge = document.migration.monitoring.judge.model
    assert family(judge) not in ("Claude", "GPT")
    edit(world, judge, "openai/gpt-4o")
    report = found(world)
    assert [one.path for one in report.errors] == ["monitoring.judge.rubric"]
    assert {"OWN-01", "OWN-02", "JDG-01"} <= set(rules(report))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic/claude-3-7-sonnet-20250219", "Claude"),
        ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", "Claude"),
        ("openai/gpt-5.1", "GPT"),
        ("o3-mini", "GPT"),
        ("azure/gpt-4o", "GPT"),
        ("together_ai/meta-llama/Llama-3-8b", "Llama"),
        ("gemini/gemini-2.5-pro", "Gemini"),
        ("hosted_vllm/our-own", "hosted_vllm"),
    ],
)
def test_models_of_one_family_are_known(model, name):
    assert family(model) == name


def test_only_the_named_revisions_are_told(world):
    first = world.write(template="generic")
    world.write(template="generic", target="fake/third")
    report = found(world, only=[first])
    assert {one.revision for one in report.findings} == {first}


def test_github_reads_annotations_with_their_place(world):
    world.write(template="generic")
    edit(world, "above: 5%", "above: 5")
    [line] = formats.github(found(world).findings).splitlines()
    assert line.startswith("::error file=migrations/versions/")
    assert "title=DOC-01::rollback[0].above: " in line
    assert "\n" not in line


def test_junit_counts_documents(world):
    world.write(template="generic")
    suite = ET.fromstring(formats.junit(found(world)))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    edit(world, "above: 5%", "above: 5")
    suite = ET.fromstring(formats.junit(found(world)))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


def test_sarif_is_what_its_readers_want(world):
    world.write(template="generic")
    edit(world, "above: 5%", "above: 5")
    log = json.loads(formats.sarif(found(world)))
    [run] = log["runs"]
    [result] = run["results"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (log["version"], rule["id"], result["level"]) == ("2.1.0", "DOC-01", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] > 1
    assert not place["artifactLocation"]["uri"].startswith("/")


def test_every_rule_says_why_and_what_instead():
    for rule in RULES.values():
        assert rule.why.endswith(".")
        assert rule.instead
        assert rule.title


def test_the_schema_takes_what_is_valid_and_refuses_what_is_not(world):
    from llmmigrate.document.schema import json_schema

    validator = jsonschema.Draft202012Validator(json_schema())
    for template in ("generic", "production", "small-traffic"):
        world.write(template=template, target=f"fake/{template}")
    documents = load_folder(world.config.versions, root=world.config.root)
    assert len(documents) == 3
    for document in documents:
        assert list(validator.iter_errors(document.source.data)) == []
    for key, value in [("shadow", {"duration": "7"}), ("unknown", 1), ("rollback", []), ("owners", {})]:
        assert list(validator.iter_errors({**documents[0].source.data, key: value})), key


def test_the_cost_map_is_read_without_importing_litellm():
    known = costmap.facts("openai/gpt-4o")
    assert known.max_input_tokens == 128_000
    assert known.input_cost == pytest.approx(2.5e-6)
    assert costmap.facts("no/such-model") == costmap.ModelFacts()
    assert costmap.source().startswith("LiteLLM 1.")


def test_where_there_is_no_project_nothing_was_checked(tmp_path):
    with pytest.raises(SettingsError, match=re.escape(f"no llmmigrate.toml in {tmp_path} or above it")):
        preflight.check(settings.load(cwd=tmp_path, environ={}), now=NOW)
    scaffold.init(tmp_path)
    assert preflight.check(settings.load(cwd=tmp_path, environ={}), now=NOW).documents == []
    (tmp_path / "llmmigrate.toml").unlink()
    (tmp_path / "migrations" / "versions" / "d.yaml").write_text("route: r\n")
    assert preflight.check(settings.load(cwd=tmp_path, environ={}), now=NOW).errors


def test_a_route_whose_document_is_gone_is_told_at_its_head_file(world):
    world.write()
    next(world.config.versions.glob("*.yaml")).unlink()
    [fault] = found(world).errors
    assert (fault.rule, fault.file) == ("GRA-02", f"migrations/heads/{ROUTE}")
    assert (world.folder / fault.file).is_file()


def test_an_applied_document_that_is_gone_is_told_at_its_head_file(world):
    world.write()
    world.upgrade()
    next(world.config.versions.glob("*.yaml")).unlink()
    report = found(world, states={state.route: state for state in world.store.routes()})
    assert {one.file for one in report.errors} == {f"migrations/heads/{ROUTE}"}


def test_faults_of_other_routes_are_not_told_of_a_named_one(world):
    revision = world.write()
    broken = world.config.versions / "z.yaml"
    broken.write_text("route: other\n")
    assert found(world).errors
    assert found(world, only=[revision]).errors == []
    broken.write_text(f"route: {ROUTE}\n")
    assert found(world, only=[revision]).errors


def test_a_graph_with_a_fault_is_found_at_a_document(world):
    world.write(template="generic")
    [file] = world.config.versions.glob("*.yaml")
    twin = file.with_name("2026_01_01_twin.yaml")
    twin.write_text(file.read_text())
    report = found(world)
    assert {one.rule for one in report.errors} == {"GRA-01"}
    assert Graph(load_folder(world.config.versions, root=world.config.root)).faults
