"""Reads YAML files that people write, and says where they are wrong.

Every mistake is named by file, line and path (`rule_sets[0].rules[2].per_minor`), all of them at
once, so that a file is corrected in one go. JSON is YAML as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

__all__ = ["Document", "DocumentInvalid", "Location", "Problem", "parse_document", "read_text"]

Model = TypeVar("Model", bound=BaseModel)

Location = tuple[int | str, ...]
"""The way to a value in a document, as pydantic gives it."""

_WORDS: Final = {
    "timezone_aware": "Input should have timezone info, such as 2026-03-01T00:00:00+08:00",
}
_IDENTIFIER: Final = "^[a-z0-9]["
_IDENTIFIER_WORDS: Final = "must be 1 to 64 of a-z, 0-9, '_', '.', '-', a letter or digit first"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, or that its author may not have meant."""

    name: str
    """The file."""
    line: int | None
    """From 1; None where the file as a whole is meant."""
    path: str
    """The way to it, `rules[2].per_minor`; empty for the whole."""
    message: str

    def __str__(self) -> str:
        where = self.name if self.line is None else f"{self.name}:{self.line}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class DocumentInvalid(ValueError):
    """A file cannot be read or does not make sense; `problems` has one line for each."""

    def __init__(self, name: str, problems: Sequence[str | Problem]) -> None:
        self.problems = tuple(str(problem) for problem in problems)
        super().__init__("\n".join(self.problems))
        self.name = name
        self.found = tuple(problem for problem in problems if isinstance(problem, Problem))
        """The problems whose place is known."""


def read_text(path: Path | str, invalid: type[DocumentInvalid] = DocumentInvalid) -> str:
    """Read a file of UTF-8. Raises `invalid`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read: {error}"
        raise invalid(str(path), [Problem(str(path), None, "", message)]) from error


class Document:
    """A file's content, and on which line each part of it stands."""

    def __init__(
        self, text: str, name: str, invalid: type[DocumentInvalid] = DocumentInvalid
    ) -> None:
        """Read YAML text; `name` stands for the file in messages. Raises `invalid`."""
        self.name: Final = name
        try:
            loader = _Loader(text)
            try:
                self._root = loader.get_single_node()
                content = loader.construct_document(self._root) if self._root is not None else None
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else None
            message = str(error.problem or error.context)
            raise invalid(name, [Problem(name, line, "", message)]) from error
        except (yaml.YAMLError, ValueError) as error:
            raise invalid(name, [Problem(name, None, "", str(error))]) from error
        except RecursionError:
            message = "too many brackets inside each other"
            raise invalid(name, [Problem(name, None, "", message)]) from None
        self.content: Final[Any] = content

    def problem(self, location: Location, message: str, kind: str = "") -> Problem:
        """Return something to be said about the value at a location.

        `kind` is pydantic's name of a mistake.
        """
        node = self._root
        path = ""
        for place, step in enumerate(location):
            if isinstance(step, int):
                path += f"[{step}]"
                if isinstance(node, yaml.SequenceNode) and step < len(node.value):
                    node = node.value[step]
                continue
            named = _value_of(node, "kind")
            if place and isinstance(location[place - 1], int) and named and named.value == step:
                # The kind of a rule, which pydantic puts between; a field may have the same name.
                continue
            found = _value_of(node, step)
            if found is not None:
                node = found
            elif kind != "missing" or step != location[-1]:
                continue
            path = f"{path}.{step}" if path else step
        text = message.removeprefix("Value error, ")
        # What is said of a whole and begins with the name of a part is about that part.
        part = text.split(" ", 1)[0]
        found = _value_of(node, part)
        if found is not None:
            node, path = found, f"{path}.{part}" if path else part
        return Problem(self.name, None if node is None else node.start_mark.line + 1, path, text)

    def problems(
        self, error: ValidationError, model: type[BaseModel], at: Location = ()
    ) -> list[Problem]:
        """Return what is wrong with the value at a location, read as a model."""
        schema = _Schema(model)
        found = []
        parts = error.errors(include_url=False)
        for part in parts:
            location, kind, message = part["loc"], part["type"], part["msg"]
            size = len(location)
            if kind == "too_short" and any(
                len(other["loc"]) > size and other["loc"][:size] == location for other in parts
            ):
                # Not counted was what is wrong itself.
                continue
            if kind == "extra_forbidden":
                known = schema.fields(location[:-1])
                message += f"; allowed here: {', '.join(known)}"
                likely = get_close_matches(str(location[-1]), known, n=1)
                message += f"; did you mean {likely[0]}?" if likely else ""
            elif kind == "union_tag_not_found":
                tags = ", ".join(schema.tags(location))
                message = f"{part['ctx']['discriminator'].strip(chr(39))} is missing; one of {tags}"
            elif kind == "union_tag_invalid":
                tag = part["ctx"]["discriminator"].strip("'")
                message = (
                    f"{tag} {part['ctx']['tag']!r} is none of {', '.join(schema.tags(location))}"
                )
            elif kind == "string_pattern_mismatch":
                if part["ctx"]["pattern"].startswith(_IDENTIFIER):
                    message = _IDENTIFIER_WORDS
            else:
                message = _WORDS.get(kind, message)
            found.append(self.problem((*at, *location), message, kind))
        return found


def parse_document(
    text: str,
    name: str,
    model: type[Model],
    what: str,
    invalid: type[DocumentInvalid] = DocumentInvalid,
    context: dict[str, Any] | None = None,
) -> Model:
    """Read a model from YAML text. Raises `invalid`.

    `name` stands for the file in messages; `what` says what a text should be that is no mapping;
    `context` goes to the model's validators.
    """
    document = Document(text, name, invalid)
    if not isinstance(document.content, dict):
        raise invalid(name, [Problem(name, None, "", what)])
    try:
        return model.model_validate(document.content, context=context)
    except ValidationError as error:
        raise invalid(name, document.problems(error, model)) from error


class _Schema:
    """What a model allows where, told by its JSON Schema."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    @cached_property
    def _schema(self) -> dict[str, Any]:
        return self._model.model_json_schema()

    def fields(self, location: Location) -> list[str]:
        """Return the names that a mapping at a location may have."""
        names: dict[str, None] = {}
        for node in self._at(location):
            names.update(dict.fromkeys(node.get("properties", ())))
        return list(names)

    def tags(self, location: Location) -> list[str]:
        """Return the kinds that a value at a location may be of."""
        return [
            tag
            for node in self._at(location)
            for tag in node.get("discriminator", {}).get("mapping", ())
        ]

    def _at(self, location: Location) -> list[dict[str, Any]]:
        nodes = self._open(self._schema)
        for step in location:
            inner = [child for node in nodes for child in self._step(node, step)]
            # A step that leads nowhere is a word that pydantic puts between.
            nodes = inner or nodes
        return nodes

    def _step(self, node: dict[str, Any], step: int | str) -> list[dict[str, Any]]:
        if isinstance(step, int):
            child = node.get("items")
        else:
            tagged = node.get("discriminator", {}).get("mapping", {}).get(step)
            if tagged is not None:
                return self._open({"$ref": tagged})
            child = node.get("properties", {}).get(step, node.get("additionalProperties"))
        return self._open(child) if isinstance(child, dict) else []

    def _open(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a node and what it stands for."""
        if "$ref" in node:
            return self._open(self._schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
        nodes = [node]
        if "discriminator" not in node:
            for name in ("anyOf", "oneOf", "allOf"):
                nodes += [inner for each in node.get(name, ()) for inner in self._open(each)]
        return nodes


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a name given twice: YAML would silently drop the first.

    What it cannot read it names by its line.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a name must be a text", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            # Such as the 30th of February: what looks like a time and is none.
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!r} makes no sense: {error}", node.start_mark
            ) from error


def _value_of(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return value if isinstance(value, yaml.Node) else None
    return None
