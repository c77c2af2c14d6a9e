"""A process may be killed at any statement: nothing is lost, nothing happens twice, the next run finishes it."""

from __future__ import annotations

import pytest

from tests.conftest import both_backends
from tests.crash import Stage, kill_everywhere


@both_backends
def test_nothing_is_lost_or_done_twice_wherever_a_process_is_killed(tmp_path, backend, request):
    admin = request.getfixturevalue("postgres")() if backend == "postgresql" else None
    stage = Stage(tmp_path, admin)
    try:
        kills = kill_everywhere(stage, every=4 if backend == "sqlite" else 8)
    finally:
        stage.close()
    assert kills >= (60 if backend == "sqlite" else 30)


def test_the_harness_sees_a_second_write_that_does_not_belong_to_the_first(tmp_path, monkeypatch):
    """Break the one write in two, and the harness must find it."""
    from llmmigrate.store import store as module

    real = module.Store.write

    def torn(self, change, *, at):
        """Write the history row in a transaction of its own, before the state."""
        with monkeypatch.context() as patch:
            patch.setattr(module.Store, "_compare_and_set", staticmethod(lambda *_: True))
            after = real(self, change, at=at)
        with self._writing() as connection:
            original(connection, change.before, after)
        return after

    original = module.Store._compare_and_set
    stage = Stage(tmp_path, None)
    monkeypatch.setattr(module.Store, "write", torn)
    with pytest.raises(AssertionError, match="left behind"):
        kill_everywhere(stage)
