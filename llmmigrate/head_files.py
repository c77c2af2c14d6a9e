"""Head files: `migrations/heads/ROUTE` is one line, so that two branches that both add to a route conflict in git."""

from __future__ import annotations

from pathlib import Path

from llmmigrate.exceptions import GraphError
from llmmigrate.files import replace_file
from llmmigrate.graph import Graph

_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def write_head(folder: Path, route: str, revision: str) -> Path:
    """Note a route's head in the folder of head files, which is made where it is missing; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / route
    replace_file(file, f"{revision}\n".encode())
    return file


def head_file_faults(graph: Graph, folder: Path) -> list[GraphError]:
    """Compare the head files of a folder with the heads there are; a missing file is no fault.

    Where a route has several heads, a file that names one of them adds nothing to that fault.
    """
    found = [fault for route in graph.routes if (fault := _fault(route, graph.heads(route), folder)) is not None]
    left = sorted(file.name for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    return found + [
        GraphError(
            f"the head file of route {route} names a head, and the route has no document",
            hint=f"restore the document (git log --diff-filter=D -- migrations/versions), or delete heads/{route}",
            route=route,
        )
        for route in left
        if route not in graph.routes and not route.startswith(".")
    ]


def _fault(route: str, heads: list[str], folder: Path) -> GraphError | None:
    try:
        text = (folder / route).read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        return GraphError(f"the head file of route {route} cannot be read: {error.strerror}", route=route)
    if not heads or text.strip() in heads:
        return None
    found = f"names {text.strip()[:40] or 'nothing'}"
    if any(line.startswith(_MARKERS) for line in text.splitlines()):
        found = "is in conflict: two branches added to the route"
    are = "its head is" if len(heads) == 1 else "its heads are"
    return GraphError(
        f"the head file of route {route} {found}; {are} {', '.join(heads)}",
        hint=f"llmmigrate rebase {heads[-1]}",
        route=route,
    )
