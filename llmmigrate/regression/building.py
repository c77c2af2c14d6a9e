"""From what a suite says to cases that can be asked; each file is read once, and every problem has its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from llmmigrate.document.loader import placed, worded
from llmmigrate.document.prompts import decoded
from llmmigrate.document.source import Path, Source, dotted
from llmmigrate.exceptions import Problem
from llmmigrate.regression import assertion_model as asserted
from llmmigrate.regression.assertion_model import Assertion, FileRef, Strict
from llmmigrate.regression.cases import Case, Round
from llmmigrate.regression.suite_files import FileReader, data_url
from llmmigrate.regression.suite_model import ImagePart, Message, Tool, Turn, WrittenCase, WrittenSuite, WrittenTool
from llmmigrate.regression.variables import UnknownVariable, filled
from llmmigrate.schemas import check_schema

_ASSERTIONS: TypeAdapter[list[Assertion]] = TypeAdapter(list[Assertion])
_TOOLS: TypeAdapter[list[WrittenTool]] = TypeAdapter(list[WrittenTool])

Model = TypeVar("Model", bound=Strict)


def placed_in(source: Source, detail: Any, under: Path = ()) -> Problem:
    """Place an error of the values' library; branches of unions, which begin with `~`, are no part of a path."""
    return placed(source, {**detail, "loc": (*under, *_written(detail["loc"]))})


def _written(loc: Path) -> Path:
    return tuple(part for part in loc if not str(part).startswith("~"))


class Builder:
    """Builds the cases of one suite; `problems` are what is wrong, `hashes` the SHA-256 of the files that were read."""

    def __init__(self, source: Source, files: FileReader) -> None:
        self._source = source
        self._files = files
        self._contents: dict[str, bytes] = {}
        self.hashes: dict[str, str] = {}
        self.problems: list[Problem] = []

    def case(self, number: int, suite: WrittenSuite) -> Case | None:
        """Build the case at an index, None where something is wrong with it."""
        before = len(self.problems)
        path: Path = ("cases", number)
        defaults, case = suite.defaults, suite.cases[number]
        variables = {
            **self._variables(defaults.vars, ("defaults", "vars")),
            **self._variables(case.vars, (*path, "vars")),
        }
        general: Sequence[Assertion] = defaults.assert_
        if variables:
            case = self._filled_case(case, self._source.data["cases"][number], variables, path)
            general = self._filled_assertions(general, variables)
        own = case.model_fields_set

        def said(name: str) -> tuple[Any, Path]:
            """Return what the case says, else what the defaults say, and where that stands."""
            return (
                (getattr(case, name), (*path, name)) if name in own else (getattr(defaults, name), ("defaults", name))
            )

        system = self._text(*said("system"))
        made = Case(
            id=case.id,
            kind=case.kind,
            description=case.description,
            input_type=case.input_type,
            tags=tuple(case.tags),
            incident=case.incident,
            repetitions=said("repetitions")[0],
            system=self._fill(system, variables, said("system")[1]) if system is not None and variables else system,
            params={**defaults.params, **case.params},
            tools=self._tools(*said("tools")),
            tool_choice=_plain(said("tool_choice")[0]),
            response_format=self._data(*said("response_format")),
            rounds=self._rounds(case, path, self._resolved(general, ("defaults", "assert"))),
            place=self._source.places[path],
        )
        return made if len(self.problems) == before else None

    def _rounds(self, case: WrittenCase, path: Path, general: tuple[Assertion, ...]) -> tuple[Round, ...]:
        if case.turns is None:
            if case.messages is not None:
                messages = self._messages(case.messages, (*path, "messages"))
            else:
                messages = (self._user(case.input, case.images, path),)
            asserted_of = (*general, *self._resolved(case.assert_, (*path, "assert")))
            return (Round(messages=messages, tool_results=None, answer=None, assertions=asserted_of),)
        rounds = []
        for number, turn in enumerate(case.turns):
            last = number == len(case.turns) - 1
            rounds.append(self._round(turn, (*path, "turns", number), general if last else ()))
        return tuple(rounds)

    def _round(self, turn: Turn, path: Path, general: tuple[Assertion, ...]) -> Round:
        messages: tuple[Mapping[str, Any], ...] = ()
        if turn.messages is not None:
            messages = self._messages(turn.messages, (*path, "messages"))
        elif turn.user is not None:
            messages = (self._user(turn.user, turn.images, path),)
        answer = self._messages([turn.assistant], (*path, "assistant"))[0] if turn.assistant is not None else None
        return Round(
            messages=messages,
            tool_results=turn.tool_results,
            answer=answer,
            assertions=(*general, *self._resolved(turn.assert_, (*path, "assert"))),
        )

    def _user(self, content: Any, images: Sequence[str], path: Path) -> dict[str, Any]:
        if not images and isinstance(content, str):
            return {"role": "user", "content": content}
        parts = (
            [{"type": "text", "text": content}] if isinstance(content, str) else self._parts(content, (*path, "user"))
        )
        for number, image in enumerate(images):
            parts.append(self._image(image, None, (*path, "images", number)))
        return {"role": "user", "content": parts}

    def _messages(self, messages: Sequence[Message], path: Path) -> tuple[dict[str, Any], ...]:
        made = []
        for number, message in enumerate(messages):
            plain = message.model_dump(exclude_unset=True, exclude={"content"})
            content = message.content
            at = (*path, number, "content")
            whole = {**plain, "content": self._parts(content, at) if isinstance(content, list) else content}
            made.append({key: whole[key] for key in ("role", "content", *plain) if key in whole})
        return tuple(made)

    def _parts(self, parts: Sequence[Any], path: Path) -> list[dict[str, Any]]:
        return [
            self._image(part.path, part.detail, (*path, number, "path"))
            if isinstance(part, ImagePart)
            else part.model_dump(exclude_unset=True)
            for number, part in enumerate(parts)
        ]

    def _image(self, image: str, detail: str | None, path: Path) -> dict[str, Any]:
        content = self._content(image, path)
        url = ""
        if content is not None:
            try:
                url = data_url(content, image)
            except ValueError as error:
                self._note(path, str(error))
        return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail is not None else {})}}

    def _resolved(self, assertions: Sequence[Assertion], path: Path) -> tuple[Assertion, ...]:
        return tuple(self._with_files(one, (*path, index)) for index, one in enumerate(assertions))

    def _with_files(self, one: Assertion, path: Path) -> Assertion:
        """Return an assertion with what it names in files read."""
        change: dict[str, Any] = {}
        if isinstance(one, asserted.JsonSchema) and isinstance(one.json_schema, FileRef):
            change = {"json_schema": self._schema(one.json_schema, (*path, "json_schema"))}
        elif isinstance(one, asserted.Judge):
            change = {"judge": self._text(one.judge, (*path, "judge")) or ""}
        elif isinstance(one, asserted.Not):
            change = {"not_": self._with_files(one.not_, (*path, "not"))}
        elif isinstance(one, asserted.AllOf):
            change = {"all_of": list(self._resolved(one.all_of, (*path, "all_of")))}
        elif isinstance(one, asserted.AnyOf):
            change = {"any_of": list(self._resolved(one.any_of, (*path, "any_of")))}
        return one.model_copy(update=change) if change else one

    def _schema(self, ref: FileRef, path: Path) -> dict[str, Any]:
        schema = self._data(ref, path) or {}
        try:
            check_schema(schema)
        except ValueError as error:
            self._note(path, f"{ref.file} {error}")
        return schema

    def _tools(self, tools: Any, path: Path) -> tuple[dict[str, Any], ...]:
        if isinstance(tools, FileRef):
            listed = self._parsed(tools, path)
            try:
                tools = _TOOLS.validate_python(listed)
            except ValidationError as error:
                first = error.errors()[0]
                where = dotted(_written(first["loc"]))
                self._note(path, f"{tools.file} is no list of tools: {where + ': ' if where else ''}{worded(first)}")
                return ()
        made: list[dict[str, Any]] = []
        for tool in tools or ():
            function = tool.function if isinstance(tool, Tool) else tool
            made.append({"type": "function", "function": function.model_dump(exclude_unset=True)})
        names = {tool["function"]["name"] for tool in made}
        if len(names) != len(made):
            self._note(path, "two tools have one name")
        return tuple(made)

    def _variables(self, variables: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {
            name: self._text(FileRef(file=value["file"]), (*path, name)) or ""
            if isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str)
            else value
            for name, value in variables.items()
        }

    def _filled_case(
        self, case: WrittenCase, written: Mapping[str, Any], variables: Mapping[str, Any], path: Path
    ) -> WrittenCase:
        data = dict(written)
        for name in data.keys() & {"input", "messages", "assert"}:
            data[name] = self._fill(data[name], variables, (*path, name), whole=name == "assert")
        if data.get("turns"):
            data["turns"] = [
                {
                    name: self._fill(part, variables, (*path, "turns", number, name), whole=name == "assert")
                    for name, part in turn.items()
                }
                for number, turn in enumerate(data["turns"])
            ]
        return self._validated(WrittenCase, data, path) or case

    def _filled_assertions(self, general: Sequence[Assertion], variables: Mapping[str, Any]) -> Sequence[Assertion]:
        path: Path = ("defaults", "assert")
        data = self._source.data.get("defaults", {}).get("assert", [])
        try:
            return _ASSERTIONS.validate_python(self._fill(data, variables, path, whole=True))
        except ValidationError as error:
            self.problems += [placed_in(self._source, detail, path) for detail in error.errors()]
            return general

    def _fill(self, value: Any, variables: Mapping[str, Any], path: Path, *, whole: bool = False) -> Any:
        try:
            return filled(value, variables, path, whole=whole)
        except UnknownVariable as error:
            self._note(error.path, str(error))
            return value

    def _validated(self, model: type[Model], data: Any, path: Path) -> Model | None:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self.problems += [placed_in(self._source, detail, path) for detail in error.errors()]
            return None

    def _text(self, value: str | FileRef | None, path: Path) -> str | None:
        """Return a text, read from its file where it stands in one."""
        if not isinstance(value, FileRef):
            return value
        content = self._content(value.file, path)
        if content is None:
            return None
        try:
            return decoded(content, value.file)
        except ValueError as error:
            self._note(path, str(error))
            return None

    def _data(self, value: Any, path: Path) -> dict[str, Any] | None:
        """Return a mapping, read from its JSON file where it stands in one."""
        if not isinstance(value, FileRef):
            return value  # type: ignore[no-any-return]
        data = self._parsed(value, path)
        if data is not None and not isinstance(data, dict):
            self._note(path, f"{value.file} holds no mapping")
            return None
        return data

    def _parsed(self, ref: FileRef, path: Path) -> Any:
        text = self._text(ref, path)
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            self._note(path, f"{ref.file} is no JSON: {error}")
            return None

    def _content(self, name: str, path: Path) -> bytes | None:
        if name not in self._contents:
            try:
                self._contents[name] = self._files(name)
            except ValueError as error:
                self._note(path, str(error))
                return None
            self.hashes[name] = hashlib.sha256(self._contents[name]).hexdigest()
        return self._contents[name]

    def _note(self, path: Path, message: str) -> None:
        problem = self._source.problem(path, message)
        if problem not in self.problems:
            self.problems.append(problem)


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if isinstance(value, Strict) else value
