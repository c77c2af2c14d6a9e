"""Read a promptfoo configuration as a suite; whatever has no counterpart is said by name, with its place.

Each prompt with each test is a case. Templates are promptfoo's (Nunjucks): places such as `{{name}}` are taken over,
with their variables; filters, conditions, programs and remote prompts are not. Format: promptfoo's documentation,
`site/docs/configuration/` (`guide.md`, `prompts.md`, `test-cases.md`, `reference.md`) of promptfoo/promptfoo.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from llmmigrate.document.prompts import decoded
from llmmigrate.document.source import Path, Source, read
from llmmigrate.regression.chat_requests import unfit
from llmmigrate.regression.promptfoo_assertions import NotTaken, taken
from llmmigrate.regression.promptfoo_tests import (
    WORDING,
    as_yaml_1_2,
    choices,
    composed,
    is_file,
    listed,
    mapping,
    of_row,
    texts_in,
    yaml_1_2,
)
from llmmigrate.regression.suite_files import FileReader, no_files
from llmmigrate.regression.suite_model import MAX_CASES, MAX_REPETITIONS, Asked
from llmmigrate.regression.variables import UnknownVariable, filled, names_in
from llmmigrate.regression.writing import Ids, Imported, LeftOut, with_defaults

_PARAMS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "presence_penalty",
           "frequency_penalty", "reasoning_effort")  # fmt: skip
_ASKED = ("tools", "tool_choice", "response_format")
_TEXTS = (".txt", ".md", ".j2")
_LOGIC = re.compile(r"\{%|\{#|\{\{[^{}]*\||\{\{\s*env\.")
_PROGRAM = re.compile(
    r"^(exec:|python:|langfuse://|portkey://|helicone://|https?://|package:)|\.(js|ts|mjs|cjs|py|sh|rb|pl|bash)(:\w+)?$"
)
_KNOWN_TEST = {"description", "vars", "assert", "options", "metadata", "threshold"}
_SECRETLESS_TOP = {"prompts", "tests", "defaultTest", "providers", "targets", "description", "evaluateOptions"}


@dataclass(frozen=True)
class _Prompt:
    """A prompt as messages, with the words that name it."""

    messages: list[dict[str, Any]]
    label: str


@dataclass(frozen=True)
class _Test:
    """A test as it is written, its place in the configuration, and the folder that the paths of its `vars` begin at."""

    data: Mapping[str, Any]
    at: Path
    folder: str


def import_promptfoo(raw: bytes, name: str, *, files: FileReader = no_files, folder: str | None = "") -> Imported:
    """Read a configuration; `files` reads those it names, by path, and `folder` is its own inside the project.

    None stands for a configuration outside of it: paths begin at its folder, and texts in files become the suite's own,
    which can name no such file. Raises DocumentInvalid where it is unreadable.
    """
    source = read(raw, name, wording=WORDING)
    data = as_yaml_1_2(source, raw.decode("utf-8-sig"))
    return _Importer(Source(name, data, source.places, source.spans), files, folder).imported()


class _Leaving:
    """Notes what is left out of one test."""

    def __init__(self, left_out: list[LeftOut], where: str) -> None:
        self._left_out = left_out
        self._where = where

    def __call__(self, what: str) -> None:
        self._left_out.append(LeftOut(self._where, what))


class _Importer:
    def __init__(self, source: Source, files: FileReader, folder: str | None) -> None:
        self._source = source
        self._files = files
        self._folder = folder or ""
        self._named = folder is not None
        self._left_out: list[LeftOut] = []
        self._ids = Ids()
        self._mappings: dict[str, dict[str, Any]] = {}
        self._default_unread = False

    def imported(self) -> Imported:
        config = self._source.data
        for key in config.keys() - _SECRETLESS_TOP:
            if not key.endswith("Templates"):
                self._leave((key,), f"{key} has no counterpart in a suite")
        prompts = list(self._prompts(config.get("prompts", ["{{prompt}}"])))
        default = self._default(config.get("defaultTest"))
        asked = self._provider(config.get("providers", config.get("targets")))
        cases = [
            {**case, **asked}
            for test in self._tests(config.get("tests", []), ("tests",))
            for case in self._cases(test, default, prompts)
        ]
        if len(cases) > MAX_CASES:
            self._leave(("tests",), f"{len(cases) - MAX_CASES:,} of {len(cases):,} cases: a suite has {MAX_CASES:,}")
        top: dict[str, Any] = {}
        if isinstance(config.get("description"), str) and config["description"].strip():
            top["description"] = config["description"]
        repeat = self._repeat(config.get("evaluateOptions"))
        if repeat is not None:
            top["defaults"] = {"repetitions": repeat}
        ordered = sorted(self._left_out, key=lambda one: [int(part) for part in re.findall(r":(\d+)", one.where)[:2]])
        return Imported(with_defaults(cases[:MAX_CASES], **top), tuple(dict.fromkeys(ordered)))

    def _leave(self, path: Path, what: str) -> None:
        problem = self._source.problem(path, "")
        self._left_out.append(LeftOut(f"{self._source.name}:{problem.line}:{problem.column}", what))

    def _path(self, written: str, folder: str | None = None) -> str:
        """Return a path as it is written in a folder, the configuration's own by default, as one of the project."""
        inside = self._folder if folder is None else folder
        return posixpath.normpath(posixpath.join(inside, written.removeprefix("file://")))

    def _text_of(self, path: str) -> dict[str, str] | str:
        """Return a file as a suite names it, or its text where it cannot be named; raises ValueError."""
        return {"file": self._path(path)} if self._named else self._read(path)

    def _read(self, path: str) -> str:
        return decoded(self._files(self._path(path)), path)

    def _mapping_in(self, path: str) -> dict[str, Any]:
        """Read a file of the project that holds a mapping; raises ValueError."""
        if path not in self._mappings:
            if "*" in path or not path.endswith((".yaml", ".yml", ".json")):
                raise ValueError(f"{path}: only single YAML and JSON files are read")
            text = decoded(self._files(path), path)
            found = _json(text, path) if path.endswith(".json") else yaml_1_2(text, path)
            if not isinstance(found, dict):
                raise ValueError(f"{path} holds no mapping")
            self._mappings[path] = found
        return self._mappings[path]

    def _vars(self, written: Any, folder: str) -> dict[str, Any]:
        """Return variables: a mapping, or the file or files that hold them, of which the last one counts."""
        if written is None or isinstance(written, dict):
            return written or {}
        paths = written if isinstance(written, list) else [written]
        if not all(isinstance(path, str) and path for path in paths):
            raise ValueError("neither a mapping nor the path of a file")
        found: dict[str, Any] = {}
        for path in paths:
            found |= self._mapping_in(self._path(path, folder))
        return found

    def _repeat(self, options: Any) -> int | None:
        options = options if isinstance(options, dict) else {}
        for key in options.keys() - {"repeat"}:
            self._leave(("evaluateOptions", key), f"evaluateOptions.{key}: how calls are made is not in a suite")
        repeat = options.get("repeat")
        return min(repeat, MAX_REPETITIONS) if isinstance(repeat, int) and repeat > 1 else None

    def _provider(self, providers: Any) -> dict[str, Any]:
        """Return what is asked beside the messages, where one provider says it for all."""
        listed = providers if isinstance(providers, list) else [providers] if providers is not None else []
        if listed:
            self._leave(("providers",), "the models: they are those of the migration document")
        if len(listed) != 1 or not isinstance(listed[0], dict) or not isinstance(listed[0].get("config"), dict):
            if any(isinstance(one, dict) and one.get("config") for one in listed):
                self._leave(("providers",), "the configurations of several providers: a suite asks all models alike")
            return {}
        return self._asked(listed[0]["config"])

    def _asked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        params = {key: config[key] for key in _PARAMS if key in config}
        asked: dict[str, Any] = {"params": params} if params else {}
        for key in _ASKED:
            value = config.get(key)
            if isinstance(value, str) and value.startswith("file://") and value.endswith(".json"):
                value = {"file": self._path(value)} if self._named else None
            try:
                Asked.model_validate({key: value})
            except ValidationError:
                continue
            if value is not None:
                asked[key] = value
        if "tools" in asked:
            self._leave(("providers",), "calls as text: promptfoo shows them to every assertion, here only text is")
        for key in config.keys() - asked.keys() - params.keys():
            self._leave(("providers",), f"{key} of the provider's configuration")
        return asked

    def _prompts(self, prompts: Any) -> Iterator[_Prompt]:
        listed = prompts if isinstance(prompts, list) else [prompts]
        for number, prompt in enumerate(listed):
            path: Path = ("prompts", number)
            label, text = "", prompt
            if isinstance(prompt, dict):
                label, text = str(prompt.get("label", "")), prompt.get("raw", prompt.get("id"))
                for key in prompt.keys() - {"id", "raw", "label"}:
                    self._leave(path, f"{key} of a prompt")
            if not isinstance(text, str) or not text.strip():
                self._leave(path, "a prompt without a text")
                continue
            label = label or (f"p{number + 1}" if len(listed) > 1 else "")
            try:
                yield from (_Prompt(messages, label) for messages in self._messages(text))
            except (ValueError, RecursionError) as error:
                self._leave(path, f"the prompt {text.splitlines()[0][:60]!r}: {error}")

    def _messages(self, text: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the prompts that one entry stands for, each as messages; raises ValueError."""
        named = text.startswith("file://") or (
            "\n" not in text and text.endswith((*_TEXTS, ".json")) and " " not in text
        )
        if _PROGRAM.search(text) and "\n" not in text:
            raise ValueError("it is made by a program, or kept elsewhere")
        if not named:
            yield self._chat(text)
            return
        if "*" in text:
            raise ValueError("patterns of file names are not read: name each file")
        content = self._read(text)
        if not text.endswith((*_TEXTS, ".json")):
            raise ValueError("only text and JSON files are read")
        for part in [content] if text.endswith(".json") else re.split(r"(?m)^---[ \t]*$", content):
            if part.strip():
                yield self._chat(part.strip("\n"), must=text.endswith(".json"))

    def _chat(self, text: str, *, must: bool = False) -> list[dict[str, Any]]:
        if _LOGIC.search(text):
            raise ValueError("filters, conditions and env are not taken over")
        try:
            data = json.loads(text)
        except ValueError:
            if must:
                raise ValueError("it is no JSON until its template is filled in") from None
            data = None
        chat = isinstance(data, list) and bool(data) and all(isinstance(one, dict) and "role" in one for one in data)
        return data if chat else [{"role": "user", "content": text}]

    def _default(self, default: Any) -> Mapping[str, Any]:
        try:
            data = self._mapping_in(self._path(default)) if isinstance(default, str) else mapping(default)
            data = {**data, "vars": self._vars(data.get("vars"), self._folder)}
        except (ValueError, RecursionError) as error:
            self._leave(("defaultTest", "vars"), f"what is in defaultTest: {error}")
            self._default_unread = True
            return {}
        for key in data.keys() - _KNOWN_TEST:
            self._leave(("defaultTest", key), f"{key} of defaultTest")
        return data

    def _tests(self, tests: Any, path: Path) -> Iterator[_Test]:
        for number, test in enumerate(tests if isinstance(tests, list) else [tests]):
            at = (*path, number) if isinstance(tests, list) else path
            if isinstance(test, dict) and "path" not in test:
                yield _Test(test, at, self._folder)
                continue
            file = test if isinstance(test, str) else str(test.get("path")) if isinstance(test, dict) else ""
            folder = posixpath.dirname(self._path(file))
            try:
                yield from (_Test(one, at, folder) for one in self._tests_of(file))
            except (ValueError, csv.Error, RecursionError) as error:
                self._leave(at, f"the tests of {file!r:.80}: {str(error).splitlines()[0]}")

    def _tests_of(self, file: str) -> list[Mapping[str, Any]]:
        ending = file.rpartition(".")[2]
        if "*" in file or ending not in ("yaml", "yml", "json", "jsonl", "csv"):
            raise ValueError("only single YAML, JSON, JSONL and CSV files are read")
        text = self._read(file)
        if ending == "csv":
            return [of_row(row) for row in csv.DictReader(io.StringIO(text))]
        found: Any
        if ending == "jsonl":
            found = [_json(line, file, at) for at, line in enumerate(text.splitlines(), start=1) if line.strip()]
        elif ending == "json":
            found = _json(text, file)
        else:
            found = yaml_1_2(text, file)
        found = [found] if isinstance(found, dict) else found
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError("it is no list of tests")
        return found

    def _cases(self, test: _Test, default: Mapping[str, Any], prompts: list[_Prompt]) -> Iterator[dict[str, Any]]:
        place = self._source.problem(test.at, "")
        left = _Leaving(self._left_out, f"{place.file}:{place.line}:{place.column}")
        data = test.data
        try:
            own = self._vars(data.get("vars"), test.folder)
        except (ValueError, RecursionError) as error:
            self._leave((*test.at, "vars"), f"a test whose vars cannot be read: {error}")
            return
        for key in data.keys() - _KNOWN_TEST:
            left(f"{key} of a test")
        if data.get("threshold", default.get("threshold")) is not None:
            left("the threshold of a test: here every assertion must hold")
        options = {**mapping(default.get("options")), **mapping(data.get("options"))}
        for key in options.keys() - {"prefix", "suffix", "disableDefaultAsserts", "disableVarExpansion", "transform"}:
            left(f"options.{key} of a test")
        assertions = self._assertions(data, default, options, left)
        about = _about(data, {**mapping(default.get("metadata")), **mapping(data.get("metadata"))}, left)
        variables = self._variables({**default.get("vars", {}), **own}, left)
        if variables is None:
            return
        for choice in choices(variables, expand=not options.get("disableVarExpansion")):
            for prompt in prompts:
                case = self._case(prompt, choice, options, left)
                if case is None:
                    continue
                said = next((choice[name] for name in own if name in choice), None)
                words = str(data.get("description") or said or prompt.label or "case")
                whole = {
                    "id": self._ids.of(f"{prompt.label} {words}" if len(prompts) > 1 else words),
                    **about,
                    **case,
                    **self._asserted(assertions, case.get("vars", {}), left),
                }
                wrong = unfit(whole)
                if wrong is None:
                    yield whole
                else:
                    left(f"a test that is no case here: {wrong}")

    def _case(
        self, prompt: _Prompt, variables: dict[str, Any], options: Mapping[str, Any], left: _Leaving
    ) -> dict[str, Any] | None:
        messages = prompt.messages
        prefix, suffix = options.get("prefix"), options.get("suffix")
        if prefix or suffix:
            if len(messages) != 1 or not isinstance(messages[0].get("content"), str):
                left("options.prefix and suffix of a prompt that is a chat")
                return None
            messages = [{**messages[0], "content": f"{prefix or ''}{messages[0]['content']}{suffix or ''}"}]
        names = {name for text in texts_in(messages) for name in names_in(text)}
        unknown = sorted({name.partition(".")[0] for name in names} - variables.keys())
        if any(not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", name, re.ASCII) for name in names):
            left(f"a prompt that computes: {sorted(names)[:3]}")
            return None
        if unknown and self._default_unread:
            left(f"a test whose {', '.join(unknown)} may stand in defaultTest, which could not be read")
            return None
        if unknown:
            left(f"{', '.join(unknown)} is in no vars, and empty in promptfoo: it is an empty text here")
        variables = {**variables, **dict.fromkeys(unknown, "")}
        try:
            sent = filled(messages, {name: "x" if is_file(value) else value for name, value in variables.items()})
        except UnknownVariable as error:
            left(str(error))
            return None
        if not any(text.strip() for message in sent for text in texts_in(message.get("content"))):
            left("a prompt that is empty once its variables are filled in")
            return None
        single = len(messages) == 1 and messages[0].keys() == {"role", "content"} and messages[0]["role"] == "user"
        asks = (
            {"input": messages[0]["content"]} if single and messages[0]["content"].strip() else {"messages": messages}
        )
        return {**({"vars": variables} if variables else {}), **asks}

    @staticmethod
    def _asserted(assertions: list[dict[str, Any]], variables: Mapping[str, Any], left: _Leaving) -> dict[str, Any]:
        """Return the assertions whose variables there are."""
        fit = []
        plain = {name: "" if is_file(value) else value for name, value in variables.items()}
        for one in assertions:
            try:
                filled(one, plain)
                fit.append(one)
            except UnknownVariable as error:
                left(f"an assertion: {error}")
        return {"assert": fit} if fit else {}

    def _assertions(
        self, data: Mapping[str, Any], default: Mapping[str, Any], options: Mapping[str, Any], left: _Leaving
    ) -> list[dict[str, Any]]:
        general = [] if options.get("disableDefaultAsserts") else listed(default.get("assert"))
        made = []
        if options.get("transform") is not None:
            left("assertions of a transformed answer (options.transform)")
            return []
        for one in (*general, *listed(data.get("assert"))):
            try:
                made.append(self._assertion(one, left))
            except NotTaken as error:
                left(str(error))
        return made

    def _assertion(self, one: Any, left: _Leaving) -> dict[str, Any]:
        ref = one.get("$ref") if isinstance(one, dict) else None
        if isinstance(ref, str):
            target: Any = self._source.data
            for key in ref.removeprefix("#/").split("/"):
                target = target.get(key) if isinstance(target, dict) else None
            one = target
        if not isinstance(one, dict):
            raise NotTaken(f"an assertion that is no mapping: {ref or one!r:.80}")
        made = taken(one, self._read, left)
        if any(_LOGIC.search(text) for text in texts_in(made)):
            raise NotTaken(f"{one['type']} whose value has filters, conditions or env")
        return made

    def _variables(self, variables: Mapping[str, Any], left: _Leaving) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        for name, value in variables.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                left(f"the variable {name!r:.60}: no name that can be used here")
                return None
            if isinstance(value, str) and value.startswith("file://"):
                if not value.endswith(_TEXTS) or "*" in value:
                    left(f"a test whose variable {name} is the file {value!r:.80}: only single text files are taken")
                    return None
                try:
                    found[name] = self._text_of(value)
                except ValueError as error:
                    left(f"a test whose variable {name} is a file: {error}")
                    return None
            elif any(_LOGIC.search(text) for text in texts_in(value)):
                left(f"a test whose variable {name} has filters, conditions or env")
                return None
            else:
                found[name] = value
        return composed(found)


def _json(text: str, name: str, first: int = 1) -> Any:
    """Read JSON that begins at a line of a file; raises ValueError with the place."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}:{first + error.lineno - 1}:{error.colno}: this is no JSON") from error


def _about(data: Mapping[str, Any], metadata: Mapping[str, Any], left: _Leaving) -> dict[str, Any]:
    """Return what a test says about itself: its description, and its metadata as tags."""
    about: dict[str, Any] = {}
    if isinstance(data.get("description"), str) and data["description"].strip():
        about["description"] = data["description"]
    plain = {key: value for key, value in metadata.items() if isinstance(value, (str, int, float))}
    for key in metadata.keys() - plain.keys():
        left(f"metadata.{key} of a test")
    return {**about, **({"tags": [f"{key}={value}" for key, value in plain.items()]} if plain else {})}
