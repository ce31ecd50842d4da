"""Reading YAML and JSON that people and programs wrote: one error for each fault, saying where, what was expected, what came.

Nothing of the package is imported with this file: the build reads it by its path, in Snakemake's own environment. So the
schemas of all these files are here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

__all__ = [
    "PROFILES",
    "RUN",
    "VERDICTS",
    "check_region",
    "check_schema",
    "parse_yaml",
    "read_claims",
    "read_json",
    "read_published",
    "read_records",
    "read_results",
    "read_text",
    "read_yaml",
]

PROFILES = ("smoke", "laptop", "gpu")
VERDICTS = ("reproduced", "corrected", "not reproduced", "inconclusive", "not run")

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
        "expect": {
            "type": "object",
            "propertyNames": {"enum": PROFILES, "description": f"a profile, one of {', '.join(PROFILES)}"},
            "additionalProperties": {"enum": VERDICTS, "description": f"a verdict, one of {', '.join(VERDICTS)}"},
            "description": "{profile: verdict}",
        },
    },
    "required": ["id", "source", "statement", "accept", "near_miss", "why"],
    "additionalProperties": False,
}


_RECORDS = {
    "type": "array",
    "description": "a list of records",
    "items": {
        "type": "object",
        "description": "a record",
        "properties": {
            "id": {"type": "string", "description": "the name of a claim"},
            "value": _NUMBER,
            "interval": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2, "description": "[low, high]"},
            "seeds": {"type": "integer", "minimum": 0, "description": "a whole number"},
            "note": {"type": "string", "description": "a text"},
            "detail": {"type": "object", "description": "a mapping"},
            "provenance": {"type": "object", "description": "a mapping"},
        },
        "required": ["id", "value", "interval", "seeds"],
        "additionalProperties": False,
    },
}

_MAPPING = {"type": "object", "description": "a mapping"}
_NAMED_TEXT = {"type": "string", "description": "a text"}
# A run of a sweep as a job leaves it.
RUN = {
    "type": "object",
    "description": "a run",
    "properties": dict.fromkeys(("parameters", "result", "provenance"), _MAPPING),
    "required": ["parameters", "result", "provenance"],
    "additionalProperties": False,
}
# Of `results/<chapter>`: what was measured, and where and how; a group of runs may say more of itself.
_SERIES = {
    "type": "object",
    "description": "a mapping with runs",
    "properties": {
        "runs": {
            **_MAPPING,
            "additionalProperties": {
                "type": "object",
                "description": "a run",
                "properties": dict.fromkeys(("parameters", "result"), _MAPPING),
                "required": ["parameters", "result"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["runs"],
    "additionalProperties": False,
}
_PROVENANCE = {
    "type": "object",
    "description": "a mapping with groups of runs",
    "properties": {
        "groups": {
            "type": "array",
            "description": "a list of groups",
            "items": {
                "type": "object",
                "description": "a group of runs",
                "properties": {
                    **dict.fromkeys(("device", "machine", "products", "day"), _NAMED_TEXT),
                    "versions": {**_MAPPING, "additionalProperties": _NAMED_TEXT, "required": ["jax"]},
                    "runs": {"type": "array", "items": _NAMED_TEXT, "description": "a list of names"},
                },
                "required": ["device", "versions", "runs"],
            },
        }
    },
    "required": ["groups"],
    "additionalProperties": False,
}
_NUMBERS = {"type": "array", "items": _NUMBER, "description": "a list of numbers"}
_PUBLISHED = {
    "type": "object",
    "description": "a mapping with the source of its numbers",
    "properties": {
        "source": _TEXT,
        "note": _NAMED_TEXT,
        "figures": {
            **_MAPPING,
            "additionalProperties": {
                **_MAPPING,
                "additionalProperties": {
                    "type": "object",
                    "description": "a curve",
                    "properties": {"x": _NUMBERS, "y": _NUMBERS},
                    "required": ["x", "y"],
                    "additionalProperties": False,
                },
            },
        },
    },
    "required": ["source", "figures"],
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


def check_region(accept: tuple[float, float], near_miss: float, where: str) -> None:
    """Whether a claim can be judged.

    Raises:
        ValueError: if the region of values that agree has no order, or the near miss lies in it or is not finite.
    """
    low, high = accept
    if not low <= high:
        raise ValueError(f"{where}: expected accept: [low, high], got {list(accept)}")
    if low <= near_miss <= high or not math.isfinite(near_miss):
        raise ValueError(f"{where}: expected a near_miss outside {list(accept)}, got {near_miss}")


def _read_claim(entry: dict[str, Any], where: str) -> dict[str, Any]:
    check_schema(entry, _CLAIM, where)
    low, high = entry["accept"]
    accept = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    check_region(accept, entry["near_miss"], where)
    return {**entry, "accept": accept, "near_miss": float(entry["near_miss"])}


def read_claims(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The entries of `book/claims`, each with its chapter, the name of its file; ±inf in `accept` is no bound.

    Raises:
        ValueError: with a line for each file that is no list of claims, each entry that has not the keys and the values
            of one, or whose id is another's, and each `corrected_by` that names no other.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    faults = []
    for path in sorted(folder.glob("*.yml")):
        try:
            entries = read_yaml(path, _CLAIMS)
        except ValueError as error:
            faults.append(str(error))
            continue
        for entry in entries:
            where = f"{path}, claim {entry.get('id', 'without id')}"
            try:
                claim = _read_claim(entry, where)
            except ValueError as error:
                faults.append(str(error))
                continue
            if claim["id"] in found:
                faults.append(f"{where}: expected unique ids, got it twice")
            found[claim["id"]] = (path.stem, claim)
    if not faults:
        faults = [
            f"claim {name}: expected corrected_by to name another, got {claim['corrected_by']!r}"
            for name, (_, claim) in found.items()
            if "corrected_by" in claim and claim["corrected_by"] not in found.keys() - {name}
        ]
    if faults:
        raise ValueError("\n".join(faults))
    return list(found.values())


def read_records(path: Path) -> list[dict[str, Any]]:
    """The entries of a chapter's `claims.json`.

    Raises:
        ValueError: if it is damaged.
    """
    return read_json(path, _RECORDS)


def _check_numbers(value: Any, where: str) -> None:
    """Refuses nothing, text and what is not finite where a number belongs, in whatever a chapter keeps of its runs."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_numbers(item, f"{where}, {key}")
    elif isinstance(value, list):
        kinds = {"a number" if isinstance(item, int | float) else type(item).__name__ for item in value}
        if "a number" in kinds and len(kinds) > 1:
            odd = next(item for item in value if not isinstance(item, int | float))
            raise ValueError(f"{where}: expected numbers, got {_short(odd)} among them")
        for place, item in enumerate(value):
            _check_numbers(item, f"{where}[{place}]")
    elif value is None or (isinstance(value, float) and not math.isfinite(value)) or _is_number(value):
        raise ValueError(f"{where}: expected a finite number, got {value!r}")


def _is_number(value: Any) -> bool:
    """Whether a text reads as a number."""
    try:
        return isinstance(value, str) and isinstance(float(value), float)
    except ValueError:
        return False


def read_results(folder: Path) -> dict[str, dict[str, Any]] | None:
    """The committed runs of a chapter, `series.json` and `provenance.json` of its folder in `results/`.

    Returns:
        A mapping with "series" and "provenance", or None if the chapter has neither file.

    Raises:
        ValueError: if one is missing or damaged, holds anything but finite numbers where numbers belong, or they are not of
            the same runs.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got a file")
    paths = {"series": folder / "series.json", "provenance": folder / "provenance.json"}
    if not any(path.exists() for path in paths.values()):
        return None
    series, provenance = read_json(paths["series"], _SERIES), read_json(paths["provenance"], _PROVENANCE)
    for name, run in series["runs"].items():
        _check_numbers(run, f"{paths['series']}, {name}")
    known = [name for group in provenance["groups"] for name in group["runs"]]
    if odd := sorted(set(known) ^ set(series["runs"])):
        raise ValueError(f"{paths['provenance']}: expected the runs of series.json in its groups, got others: {odd}")
    return {"series": series, "provenance": provenance}


def read_published(path: Path) -> dict[str, Any]:
    """Numbers from a publication, curves by figure, with their source.

    Raises:
        ValueError: if the file is damaged, names no source, or a curve has not as many ordinates as abscissae.
    """
    found = read_json(path, _PUBLISHED)
    for figure, curves in found["figures"].items():
        _check_numbers(curves, f"{path}, {figure}")
        for name, curve in curves.items():
            if len(curve["x"]) != len(curve["y"]):
                sizes = f"{len(curve['x'])} and {len(curve['y'])}"
                raise ValueError(f"{path}, {figure}, {name}: expected as many y as x, got {sizes}")
    return found
