"""Reading YAML and JSON that people and programs wrote: one error for each fault, saying where, what was expected, what came.

Nothing of the package is imported with this file: the build reads it by its path, in Snakemake's own environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

__all__ = ["check_schema", "parse_yaml", "read_claims", "read_json", "read_text", "read_yaml"]


_NUMBER = {"type": "number", "description": "a number"}
_TEXT = {"type": "string", "minLength": 1, "description": "a text"}
_END = {"type": ["number", "null"], "description": "a number, or null for no bound"}
_REGION = {"type": "array", "items": _END, "minItems": 2, "maxItems": 2, "description": "[low, high]"}
_CLAIMS = {
    "type": "array",
    "items": {"type": "object", "description": "a claim: a mapping with an id"},
    "description": "a list of claims",
}
# What a file says of one claim; its chapter is the file's name.
_CLAIM = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "source", "statement", "why", "corrected_by"), _TEXT),
        "accept": _REGION,
        "near_miss": _NUMBER,
        "published": {"type": ["number", "string", "null"], "description": "a number or a text"},
        "expect": {"type": "object", "description": "{profile: verdict}"},
    },
    "required": ["id", "source", "statement", "accept", "near_miss", "why"],
    "additionalProperties": False,
}


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C reads ten times as fast


class _Loader(_Base):
    """Safe YAML in which no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        made = super().construct_mapping(node, deep=True)
        if len(made) != len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.MarkedYAMLError(problem=f"the key {twice!r} twice", problem_mark=node.start_mark)
        return made


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: if there is none, or it is not UTF-8.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, got {'a folder' if path.is_dir() else 'none'}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8, got another byte at position {error.start}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def check_schema(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Compares a value with a JSON schema, whose `description`s say what is expected.

    Raises:
        ValueError: on the fault that matters most.

    >>> check_schema({"m": [5]}, {"properties": {"m": {"type": "number", "description": "a number"}}}, "x.yml")
    Traceback (most recent call last):
    ValueError: x.yml, m: expected a number, got [5]
    """
    try:
        fault = best_match(Draft202012Validator(schema).iter_errors(value))
    except RecursionError:
        raise ValueError(f"{where}: expected a document, got one nested too deep") from None
    if fault is not None:
        raise ValueError(_message(fault, where))


def _message(fault: ValidationError, where: str) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f", {part}" for part in fault.absolute_path)
    expected: Any = fault.schema
    instance: Any = fault.instance
    hint = ""
    if fault.validator == "additionalProperties":
        known = sorted(expected["properties"])
        return f"{where}{place}: expected keys out of {known}, got {sorted(map(str, set(instance) - set(known)))}"
    if fault.validator == "required":
        missing = [key for key in expected["required"] if key not in fault.instance]
        return f"{where}{place}: expected the keys {expected['required']}, got none of {missing}"
    if isinstance(fault.instance, str) and fault.instance[:1] in set("-.0123456789") and "number" in str(expected):
        hint = " (YAML reads 1e-3 as text; write 1.0e-3)"
    wanted = expected.get("description") or f"{fault.validator} {fault.validator_value}"
    return f"{where}{place}: expected {wanted}, got {_short(fault.instance)}{hint}"


def parse_yaml(text: str, where: str) -> Any:
    """What a text in YAML says, None if it is empty.

    Raises:
        ValueError: if it is not plain YAML without repeated keys.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}: expected YAML, got in {line}{error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ValueError(f"{where}: expected YAML, got {' '.join(str(error).split())}") from None


def read_yaml(path: Path, schema: Mapping[str, Any] | None = None) -> Any:
    """What a YAML file holds, None if it is empty.

    Args:
        path: The file.
        schema: A JSON schema that the content must satisfy.

    Raises:
        ValueError: if the file cannot be read, is not plain YAML without repeated keys, or does not satisfy the schema.
    """
    content = parse_yaml(read_text(path), str(path))
    if schema is not None:
        check_schema(content, schema, str(path))
    return content


def read_json(path: Path, schema: Mapping[str, Any] | None = None) -> Any:
    """What a JSON file holds.

    Args:
        path: The file.
        schema: A JSON schema that the content must satisfy.

    Raises:
        ValueError: if the file cannot be read, is damaged, or does not satisfy the schema.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got a damaged file ({error})") from None
    if schema is not None:
        check_schema(content, schema, str(path))
    return content


def read_claims(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The entries of `book/claims`, each with its chapter, the name of its file.

    Raises:
        ValueError: if a file is no list of claims, an entry has not the keys of one, or two have one id.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.yml")):
        for entry in read_yaml(path, _CLAIMS):
            check_schema(entry, _CLAIM, f"{path}, claim {entry.get('id', 'without id')}")
            if entry["id"] in found:
                raise ValueError(f"{path}, claim {entry['id']}: expected unique ids, got it twice")
            found[entry["id"]] = (path.stem, entry)
    return list(found.values())
