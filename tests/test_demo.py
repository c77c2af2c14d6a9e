"""Each fact of the demonstration's story, on real recorded answers and on the invented ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llmmigrate.foresight.demo import FAILS_FROM, ROUTE, play
from llmmigrate.foresight.recordings import material
from llmmigrate.foresight.traffic import read_arrivals, stretched
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.store import Store
from llmmigrate.store.chain import row_hash

pytestmark = pytest.mark.xdist_group("demo")  # one worker plays each story once

STAGES = ["shadow", "canary:5", "canary:25", "canary:50", "canary:100", "observation"]


@pytest.fixture(scope="module", params=["own", "real"])
def story(request, tmp_path_factory):
    folder = None
    if request.param == "real":
        folder = Path(os.environ.get("LLMMIGRATE_TEST_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
        if not folder.is_dir():
            pytest.skip("real data are absent: set LLMMIGRATE_TEST_DATA to their folder")
    scenes = []
    told = play(tmp_path_factory.mktemp("demo"), data=folder, watch=scenes.append)
    return told, scenes


def events(told, revision):
    return [row for row in told.history if row["revision"] == revision]


def test_the_first_migration_goes_through_every_phase_to_completed(story):
    told, _ = story
    rows = events(told, told.revisions[0])
    assert [row["to_phase"] for row in rows] == ["regression", *STAGES, "observation"]
    assert rows[-1]["to_status"] == "completed"


def test_the_second_is_rolled_back_by_its_trigger_at_25_percent(story):
    told, _ = story
    rows = events(told, told.revisions[1])
    assert [row["to_phase"] for row in rows] == [
        "regression",
        "shadow",
        "canary:5",
        "canary:25",
        "canary:25",
        "canary:25",
    ]
    assert [row["to_status"] for row in rows][-2:] == ["rolling_back", "rolled_back"]
    assert rows[-2]["reason"].startswith("rollback[0]: error rate ")


def test_the_decision_carries_its_evidence(story):
    told, _ = story
    [row] = [row for row in told.history if row["event"] == "rolling_back"]
    evidence = json.loads(row["evidence"])
    failed = evidence["metrics"][0]
    assert evidence["phase"] == FAILS_FROM
    assert (failed["metric"], failed["verdict"], failed["limit"]) == ("error_rate", "fail", 0.05)
    assert failed["interval"][0] > 0.05
    assert failed["n_candidate"] >= 10
    assert evidence["profile"] == "demo"


def test_every_gate_passed_on_evidence(story):
    told, _ = story
    passed = [row for row in told.history if row["event"] in ("advanced", "completed") and row["from_phase"] in STAGES]
    assert len(passed) == 8
    for row in passed:
        evidence = json.loads(row["evidence"])
        proved = [metric for metric in evidence["metrics"] if metric["need"] == "prove"]
        assert all(metric["verdict"] == "pass" for metric in proved)
        assert all(metric["n_candidate"] >= 60 and metric["n_control"] >= 60 for metric in proved)
        assert evidence["candidate_age_s"] <= 900


def test_traffic_is_back_on_control_after_the_rollback(story):
    told, _ = story
    after = told.served_after_rollback
    assert after[told.models[2]] == 0
    assert after[told.models[1]] > 500
    store = Store.open(f"sqlite:///{told.folder / 'llmmigrate.db'}")
    snapshot = Snapshot.from_text(store.route(ROUTE).snapshot)
    store.close()
    assert (snapshot.candidate, snapshot.share, snapshot.control.model) == (None, 0.0, told.models[1])


def test_users_hardly_noticed_the_failing_candidate(story):
    told, _ = story
    counts = {m: n for (r, p, m), n in told.served.items() if (r, p) == (told.revisions[1], FAILS_FROM)}
    assert counts.get("error", 0) / sum(counts.values()) < 0.02


def test_shares_were_what_the_steps_say(story):
    told, _ = story
    old, new, _ = told.models
    for phase, share in [("shadow", 0.0), ("canary:5", 0.05), ("canary:25", 0.25), ("canary:50", 0.5)]:
        counts = {m: n for (r, p, m), n in told.served.items() if (r, p) == (told.revisions[0], phase)}
        assert counts.get(new, 0) / (counts.get(new, 0) + counts[old]) == pytest.approx(share, abs=0.06)
    observed = {m: n for (r, p, m), n in told.served.items() if (r, p) == (told.revisions[0], "observation")}
    assert observed[new] / (observed[new] + observed[old]) == pytest.approx(0.95, abs=0.02)


def test_the_holdback_lasted_through_two_weeks_of_observation(story):
    told, _ = story
    rows = events(told, told.revisions[0])
    assert json.loads(rows[-1]["evidence"])["dwell_s"] >= 14 * 86_400


def test_the_history_is_one_unbroken_chain(story):
    told, _ = story
    assert [row["seq"] for row in told.history] == list(range(1, len(told.history) + 1))
    assert all(row_hash(row) == row["hash"] for row in told.history)
    assert [row["prev_hash"] for row in told.history[1:]] == [row["hash"] for row in told.history[:-1]]


def test_generations_only_grow(story):
    _, scenes = story
    generations = [scene.state.generation for scene in scenes]
    assert generations == sorted(generations)


def test_the_story_says_what_it_was_played_with(story):
    told, _ = story
    assert any("characters / 4" in line for line in told.described)
    assert any("recorded answers of" in line for line in told.described)


def test_the_projects_own_material_is_whole():
    played = material(None)
    assert len(played.prompts) == len(set(played.prompts)) == 48
    ratio = sum(a.completion_tokens for a in played.new) / sum(a.completion_tokens for a in played.old)
    assert 1.05 < ratio < 1.15
    assert len(played.arrivals) == 1500


def test_arrivals_are_stretched_to_their_rate(tmp_path):
    times = stretched([0.0, 1.0, 3.0], per_hour=60)
    found = [next(times) for _ in range(601)]
    assert found == sorted(found)
    assert found[600] == pytest.approx(36_000)
    (tmp_path / "a.csv").write_text("TIME\n1\n")
    with pytest.raises(ValueError, match="not an arrival log"):
        read_arrivals(tmp_path / "a.csv")
