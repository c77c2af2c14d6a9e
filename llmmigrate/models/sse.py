"""Server-sent events, as far as chat completions use them (WHATWG HTML, 9.2.6): the data of each event."""

from __future__ import annotations


class EventReader:
    """Cut a byte stream into the data of its events, however the network cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; return the data of the events that are complete with them."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        done = []
        for line in lines:
            text = line.removesuffix(b"\r")
            if not text:
                if self._data:
                    done.append(b"\n".join(self._data))
                    self._data = []
            elif text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
        return done

    @property
    def pending(self) -> int:
        """The bytes of an event that is not complete yet."""
        return len(self._rest) + sum(map(len, self._data))
