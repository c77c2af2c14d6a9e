"""What differs between two profiles, beyond what control differs from itself: in words, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from llmmigrate.regression.equivalence_intervals import fisher, holm
from llmmigrate.regression.formats import ABSENT, PRESENT, Count, Feature, Profile

ALPHA = 0.05
"""The chance that anything is said to be beyond chance where nothing changed, over all that is compared (Holm)."""

_FORMS = {
    "json": "are JSON alone",
    "fenced": "are JSON in a code fence",
    "in prose": "are JSON with prose around it",
    "invalid": "are JSON that does not parse",
    "text": "are text, not JSON",
    "empty": "are empty",
    "leading": "have prose before their JSON",
    "trailing": "have something after their JSON",
}
_WEIGHTS = {"form": 0, "schema": 1, "key": 2, "kind": 3, "value": 4, "order": 5}
"""What comes first of differences that are as large: what breaks a reader before what surprises it."""

_SAME = 0.2


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is more often so on the target than on control.

    `target`, `control` and `again` (control's second run, None without one) are counts. `excess` is by how much the
    target's share is above the nearer of control's. `beyond_chance` says that Fisher's exact test, corrected for all
    that was compared, rules out chance, taking answers as independent. `examples` are places in the target's answers.
    """

    feature: Feature
    target: Count
    control: Count
    again: Count | None
    excess: float
    p: float
    beyond_chance: bool
    sentence: str
    examples: tuple[int, ...]


class _Known(NamedTuple):
    """Control, by whose order of keys others are told, and the objects that all keys are of."""

    control: Profile
    parents: dict[str, str]


def compare(control: Profile, target: Profile, again: Profile | None = None) -> list[Difference]:
    """Return what is more often so on the target than in either run of control, worst first.

    Each value is of one kind and each answer of one form, so that what became rarer shows in what took its place.
    """
    found = []
    known = _Known(control, control.parents | target.parents)
    renamed = _renamed(control, target)
    for feature in _features(control, target, renamed):
        now, before = _count(target, feature, known), _count(control, feature, known)
        second = _count(again, feature, known) if again is not None else None
        excess = now.share - max(before.share, second.share if second is not None else 0.0)
        if now.times and excess > 0:
            found.append((feature, now, before, second, excess, fisher(now, _together(before, second))))
    adjusted = holm([one[-1] for one in found])
    differences = [
        Difference(
            feature, now, before, second, excess, p, p <= ALPHA,
            _sentence(feature, now, before, second, renamed.get(feature.path)), target.shown(feature),
        )
        for (feature, now, before, second, excess, _), p in zip(found, adjusted, strict=True)
    ]  # fmt: skip
    return sorted(differences, key=lambda one: (not one.beyond_chance, -one.excess, _WEIGHTS[one.feature.about]))


def _features(control: Profile, target: Profile, renamed: dict[str, str]) -> Iterator[Feature]:
    """Return what may have become more frequent, each once; of a new key only that it is new."""
    new = [path for path in target.parents if path not in control.parents]
    few = control.enumerations()
    for feature in target.found:
        inside_new = any(feature.path.startswith((f"{path}.", f"{path}[]")) for path in new)
        if inside_new or (feature.path in new and feature.about != "key"):
            continue
        if feature.about != "value" or feature.path in few:
            yield feature
    gone = {path for path in control.parents if path not in target.parents}
    for path in sorted(control.parents):
        if path not in renamed.values() and control.parents[path] not in gone:
            yield Feature(path, "key", ABSENT)
    for path in sorted(control.orders):
        yield Feature(path, "order", "other")


def _count(profile: Profile, feature: Feature, known: _Known) -> Count:
    if feature.about == "order":
        return _other_order(profile, feature.path, known.control)
    if feature.path in known.parents and feature.path not in profile.parents:
        above = profile.objects[known.parents[feature.path]]
        return Count(above if feature.is_so == ABSENT else 0, above)
    return profile.count(feature)


def _other_order(profile: Profile, path: str, control: Profile) -> Count:
    """Count objects whose keys stand in another order than in control's commonest object, of those that share two."""
    usual = max(control.orders[path].items(), key=lambda item: item[1])[0]
    places = {key: place for place, key in enumerate(usual)}
    other = same = 0
    for order, times in profile.orders.get(path, Counter()).items():
        shared = [places[key] for key in order if key in places]
        if len(shared) > 1:
            same += times if shared == sorted(shared) else 0
            other += times if shared != sorted(shared) else 0
    return Count(other, other + same)


def _renamed(control: Profile, target: Profile) -> dict[str, str]:
    """Return new keys with the vanished ones that they seem to stand for: of one object, as often, of one kind."""
    gone = [path for path in control.parents if path not in target.parents]
    kinds, new_kinds = control.kinds(), target.kinds()
    found: dict[str, str] = {}
    for path, parent in target.parents.items():
        if path in control.parents:
            continue
        for old in gone:
            alike = control.parents[old] == parent and kinds[old] == new_kinds[path]
            if alike and abs(_share(target, path) - _share(control, old)) <= _SAME:
                found[path] = old
                gone.remove(old)
                break
    return found


def _share(profile: Profile, path: str) -> float:
    return profile.count(Feature(path, "key", PRESENT)).share


def _together(one: Count, other: Count | None) -> Count:
    return one if other is None else Count(one.times + other.times, one.of + other.of)


def _sentence(feature: Feature, now: Count, before: Count, second: Count | None, old: str | None) -> str:
    path, about, is_so = feature
    here = f"`{printable(path)}`" if path else "the answer"
    if about == "form":
        return f"{now.times} of {now.of} answers {_FORMS[is_so]}; {_control(before, second)}"
    said = {
        "schema": "does not fit its schema",
        "key": "is absent" if is_so == ABSENT else f"stands for `{printable(old)}`" if old else "is there",
        "kind": f"is {is_so}",
        "value": f'is "{printable(is_so)}"',
        "order": "has its keys in another order",
    }[about]
    what = "answers" if "[]" not in path else "places"
    return f"{here} {said} in {now.times} of {now.of} {what}; {_control(before, second)}"


def _control(before: Count, second: Count | None) -> str:
    both = _together(before, second)
    if not both.times:
        return "control never"
    if second is None:
        return f"control in {before.times} of {before.of}"
    return f"control in {before.times} of {before.of}, then {second.times} of {second.of}"


def printable(text: str | None, most: int = 80) -> str:
    """Return model output as it may be shown: without control characters, and no longer than a line."""
    kept = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text or "")
    return kept if len(kept) <= most else kept[:most] + "…"
