"""Reads YAML files that people write, and says where they are wrong.

Every mistake is named by file, line and path (`rule_sets[0].rules[2].per_minor`), all of them at
once, so that a file is corrected in one go. JSON is YAML as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

__all__ = ["DocumentInvalid", "parse_document", "read_text"]

Model = TypeVar("Model", bound=BaseModel)


class DocumentInvalid(ValueError):
    """A file cannot be read or does not make sense; `problems` has one line for each."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.name = name
        self.problems = tuple(problems)


def read_text(path: Path | str, invalid: type[DocumentInvalid] = DocumentInvalid) -> str:
    """Read a file of UTF-8. Raises `invalid`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(str(path), [f"{path}: cannot be read: {error}"]) from error


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
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            content = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise invalid(name, [f"{where}: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise invalid(name, [f"{name}: {error}"]) from error
    if root is None or not isinstance(content, dict):
        raise invalid(name, [f"{name}: {what}"])
    try:
        return model.model_validate(content, context=context)
    except ValidationError as error:
        problems = [
            _problem(name, root, part["loc"], part["type"], part["msg"])
            for part in error.errors(include_url=False)
        ]
        raise invalid(name, problems) from error


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a name given twice: YAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(
    name: str, root: yaml.Node, location: tuple[int | str, ...], kind: str, message: str
) -> str:
    """Return one mistake as `file:line: path: message`."""
    node = root
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
    where = f"{name}:{node.start_mark.line + 1}"
    text = message.removeprefix("Value error, ")
    return f"{where}: {path}: {text}" if path else f"{where}: {text}"


def _value_of(node: yaml.Node, name: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return value if isinstance(value, yaml.Node) else None
    return None
