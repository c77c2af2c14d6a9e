"""A prompt moves with its model: it is bound by the content hash, kept with history, and handed to routers."""

from __future__ import annotations

import re
import subprocess

import pytest

from llmmigrate.document import PromptFiles, load_applied, load_text
from llmmigrate.document.prompts import MAX_PROMPT_BYTES, seal, unseal
from llmmigrate.exceptions import DocumentEdited, DocumentInvalid, RefusedError
from llmmigrate.preflight.merged import changed_since
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import ask
from tests.conftest import ROUTE


def with_prompts(text: str) -> str:
    text = re.sub(r"(?m)^current:.*\n", "current:\n  system: prompts/old.md\n", text)
    return re.sub(r"(?m)^target:.*\n", "target:\n  system: prompts/new.md\n", text)


@pytest.fixture
def prompts(world):
    folder = world.config.root / "prompts"
    folder.mkdir()
    (folder / "old.md").write_text("Be brief.\n", "utf-8")
    (folder / "new.md").write_text("Be kind.\r\nAnd brief: “yes”.\r\n", "utf-8")
    return folder


def loaded(world, revision):
    return world.graph().get(revision)


def test_routers_serve_each_arm_with_its_own_prompt(world, prompts):
    world.write(with_prompts)
    world.upgrade()
    world.upgrade()
    with world.router() as router:
        decision = router.assign(ROUTE, unit="u")
        assert (decision.arm, decision.system) == ("control", "Be brief.")
        assert decision.mirror.system == "Be kind.\nAnd brief: “yes”."
        router.completion(route=ROUTE, messages=[{"role": "system", "content": "mine"}], unit="u")
        router.mirror.wait()
    assert world.old.requests[-1].sent_messages() == [{"role": "system", "content": "Be brief."}]
    assert world.new.requests[-1].sent_messages()[0]["content"] == "Be kind.\nAnd brief: “yes”."


def test_a_fallback_answers_with_controls_prompt(world, prompts):
    world.write(with_prompts)
    with world.router() as router:
        world.reach(router, "canary:100")
        router.poll()
        world.new.error = "overloaded"
        decisions = [router.assign(ROUTE, unit=f"u{number}") for number in range(50)]
        decision = next(one for one in decisions if one.arm == "candidate")
        assert decision.system.startswith("Be kind.")
        assert router.safe(decision).system == "Be brief."


def test_the_hash_covers_the_text_of_prompts_and_not_its_line_ends(world, prompts):
    revision = world.write(with_prompts)
    before = loaded(world, revision).hash
    (prompts / "new.md").write_text("Be kind.\nAnd brief: “yes”.", "utf-8")
    assert loaded(world, revision).hash == before
    (prompts / "new.md").write_text("Be rude.", "utf-8")
    assert loaded(world, revision).hash != before


def test_an_edited_prompt_is_an_edited_document_and_is_named(world, prompts):
    revision = world.write(with_prompts)
    world.upgrade()
    (prompts / "new.md").write_text("Be rude.", "utf-8")
    edited = world.upgrade().unfit
    assert isinstance(edited, DocumentEdited)
    assert "prompts/new.md" in str(edited)
    with pytest.raises(RefusedError, match=r"target of .* was edited"):
        ask.repair(world.store, ROUTE, loaded(world, revision), actor="tests", reason="oops")


def test_history_keeps_prompts_and_a_rollback_needs_no_file(world, prompts):
    world.write(with_prompts)
    world.upgrade()
    for file in prompts.iterdir():
        file.unlink()
    kept = load_applied(world.store.route(ROUTE).document, "as applied")
    assert kept.system("target") == "Be kind.\nAnd brief: “yes”."
    assert kept.hash == world.store.route(ROUTE).document_hash
    snapshot = Snapshot.from_text(world.store.route(ROUTE).snapshot)
    assert snapshot.control.system == "Be brief."


def test_the_next_document_follows_by_the_text_of_the_prompt(world, prompts):
    world.write(with_prompts)
    (prompts / "same.md").write_text("Be kind.\nAnd brief: “yes”.\n", "utf-8")
    head = world.graph().head(ROUTE).migration
    assert head.target.system == "prompts/new.md"
    world.write(lambda text: text.replace("prompts/new.md", "prompts/same.md"), target="fake/newer")
    assert world.graph().fault(ROUTE) is None
    (prompts / "same.md").write_text("Be rude.", "utf-8")
    assert "current must equal the target" in world.graph().fault(ROUTE).message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "not UTF-8"),
        (b" \n", "is empty"),
        (b"x" * (MAX_PROMPT_BYTES + 1), "larger than"),
        (b"use sk-abcdefghijklmnopqrstuvwx", "holds an API key"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_told_at_its_place(world, prompts, content, words):
    file = prompts / "new.md"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    world.write()
    text = with_prompts(next(world.config.versions.glob("*.yaml")).read_text("utf-8")) + "unknown: 1\n"
    with pytest.raises(DocumentInvalid, match=words) as caught:
        load_text(text, "d.yaml", prompts=PromptFiles(world.config.root))
    assert {problem.path for problem in caught.value.problems} == {"target.system", "unknown"}


def test_a_prompt_never_leads_out_of_the_project(world, prompts, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.md"
    outside.write_text("hidden", "utf-8")
    (prompts / "link.md").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out of the project"):
        PromptFiles(world.config.root)("prompts/link.md")


def test_two_models_alike_with_prompts_alike_are_nothing_to_migrate(world, prompts):
    (prompts / "new.md").write_text("Be brief.", "utf-8")
    world.write()
    text = with_prompts(next(world.config.versions.glob("*.yaml")).read_text("utf-8")).replace("fake/new", "fake/old")
    with pytest.raises(DocumentInvalid, match="and so are their prompts"):
        load_text(text, "d.yaml", prompts=PromptFiles(world.config.root))


def test_a_prompt_changed_since_a_git_revision_is_found(world, prompts):
    world.write(with_prompts)
    git = ["git", "-c", "user.email=a@example.com", "-c", "user.name=a"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], cwd=world.config.root, check=True)
    documents = world.graph().documents
    assert list(changed_since(world.config, documents, "HEAD")) == []
    (prompts / "old.md").write_text("Be long.", "utf-8")
    [changed] = changed_since(world.config, world.graph().documents, "HEAD")
    assert changed.now is not None


def test_a_sealed_text_comes_apart_as_it_was():
    prompts = {"prompts/a.md": 'first\n--- # the prompts\n"quoted"', "b": "ü"}
    assert unseal(seal("revision: a\n", prompts)) == ("revision: a\n", prompts)
    assert unseal("revision: a\n") == ("revision: a\n", {})
