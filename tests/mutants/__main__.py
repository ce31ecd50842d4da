"""Mutants: a file of the package in which one operator, number or comparison is another. `make mutants`.

Cosmic Ray's operators make them. A mutant is killed if a test of its file's selection (`selections.toml`) fails. It exists
in memory alone: a process that has imported everything which does not depend on the file is forked for each mutant,
imports it in the place of the file and runs the tests, so that a verdict takes about as long as the tests. Every verdict is
a line of _build/mutants/verdicts.jsonl: a run that is cut off goes on where it was, what was killed stays so as long as its
file is the same, and survivors are tried again when their tests have changed. The counts go to
tests/mutants/counts.json; `equivalents.toml` says of which survivors no result can be another, and why.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import gc
import hashlib
import importlib
import importlib.util
import itertools
import json
import os
import resource
import sys
import tomllib
import traceback
import types
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "snn_ntk"
HERE = Path(__file__).parent
MADE = ROOT / "_build" / "mutants"
# Those that leave a program which runs. Decorators are not taken away: they are speed, or the precision on a card.
OPERATORS = [
    *("ReplaceBinaryOperator_" + pair for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Mul_Add", "Sub_Mul")),
    *("ReplaceBinaryOperator_" + pair for pair in ("Pow_Mul", "FloorDiv_Div", "Mod_Add")),
    *("ReplaceComparisonOperator_" + pair for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "LtE_Gt")),
    *("ReplaceComparisonOperator_" + pair for pair in ("Gt_LtE", "GtE_Lt", "Eq_NotEq", "NotEq_Eq", "Is_IsNot")),
    *("ReplaceUnaryOperator_" + pair for pair in ("Delete_USub", "Delete_Not", "Delete_Invert")),
    *("ReplaceComparisonOperator_IsNot_Is", "NumberReplacer", "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue", "ZeroIterationForLoop"),
]
OPTIONS = ["--exitfirst", "--quiet", "--import-mode=importlib", "--doctest-modules", "-m", "not heavy and not weekly"]
OPTIONS += ["--override-ini=addopts=", "-p", "no:cacheprovider", "--assert=plain", "--hypothesis-seed=0"]
OPTIONS += ["--hypothesis-profile=mutants"]


def mutants(text: str) -> list[tuple[str, int]]:
    """Where each operator applies, by its name and the number of the place."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator

    nodes = list(ast_nodes(get_ast(text)))
    found = []
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        places = [node for node in nodes for _ in operator.mutation_positions(node)]
        found += [(name, k) for k, node in enumerate(places) if counts(node)]
    return found


def counts(node: Any) -> bool:
    """Whether a place is neither a part of an error's text nor the star before arguments that are given by name."""
    return node.search_ancestor("raise_stmt") is None and node.parent.type not in ("parameters", "lambdef")


def mutate(text: str, mutant: tuple[str, int]) -> str:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    name, occurrence = mutant
    made = mutate_code(text, get_operator(f"core/{name}")(), occurrence)
    assert made is not None
    return made


def is_program(text: str) -> bool:
    """Whether it compiles: an operator may make something else of `f(*, a)`."""
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def change(before: str, after: str) -> dict[str, Any]:
    """The first line that differs, as it was and as it is."""
    lines, new = before.splitlines(), after.splitlines()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, lines, new, autojunk=False).get_opcodes():
        if tag != "equal":
            return {"line": a + 1, "was": " ".join(lines[a:b]).strip(), "becomes": " ".join(new[c:d]).strip()}
    raise AssertionError("no line differs")


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def names(folders: set[str]) -> list[str]:
    """The modules of some folders of the package."""
    found = [
        PACKAGE / "__init__.py",
        *(path for folder in sorted(folders) for path in (PACKAGE / folder).rglob("*.py")),
    ]
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(found)]
    return [".".join(path.parts[:-1] if path.name == "__init__" else path.parts) for path in paths]


class Without(MetaPathFinder):
    """Refuses to find one module, so that what needs it cannot be imported either."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == self.name:
            raise ImportError(fullname)


def import_all_but(file: str) -> None:
    """Imports the modules of the package that do not lead to a file.

    What leads to it is imported once, by the tests: beartype takes a class that is made again for another.
    """
    folder = file.split("/")[0]
    finder = Without(f"snn_ntk.{file.removesuffix('.py').replace('/', '.')}")
    sys.meta_path.insert(0, finder)
    # The packages above the file list what it defines; without them their other modules can be imported.
    above = {"snn_ntk": PACKAGE, f"snn_ntk.{folder}": PACKAGE / folder}
    for name, path in above.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    for name in names({folder, "paper"}):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in above:
        del sys.modules[name]
    sys.meta_path.remove(finder)


def others(path: Path) -> Iterator[str]:
    """The modules that a file imports and that are not of this project."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        listed = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in [*listed, *([node.module or ""] if isinstance(node, ast.ImportFrom) else [])]:
            found = importlib.util.find_spec(name.split(".")[0]) if name and not name.startswith("snn_ntk") else None
            if found and not Path(found.origin or "").is_relative_to(ROOT):
                yield name


def read_in_place_of(path: Path, text: str) -> None:
    """From now on whoever imports a file gets this text, and none of it is cached."""
    get_data, path_stats = SourceFileLoader.get_data, SourceFileLoader.path_stats

    def mutated_data(self: SourceFileLoader, of: str) -> bytes:
        return text.encode() if of == str(path) else get_data(self, of)

    def mutated_stats(self: SourceFileLoader, of: str) -> Any:
        if of == str(path):
            raise OSError("no cache of a mutant")
        return path_stats(self, of)

    SourceFileLoader.get_data, SourceFileLoader.path_stats = mutated_data, mutated_stats  # type: ignore[method-assign]


def judge(file: str, text: str, tests: list[str], seconds: float, show: bool = False) -> tuple[str, float]:
    """Runs tests with a text in the place of a file; returns the verdict and the seconds of the processor it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pid = os.fork()
    if not pid:
        import pytest
        from hypothesis import HealthCheck, settings

        # A slow machine kills no mutant.
        settings.register_profile("mutants", deadline=None, suppress_health_check=list(HealthCheck))
        if not show:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
        status = 3
        try:
            # A mutant may never end, or ask for all memory.
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
            resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33))
            read_in_place_of(PACKAGE / file, text)
            status = int(pytest.main([*OPTIONS, *tests]))
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if os.WIFSIGNALED(status):
        return "too long", used
    code = os.WEXITSTATUS(status)
    if code not in (0, 1, 2):  # all passed; some failed; the file cannot be imported
        raise RuntimeError(f"{file}: expected tests to run, got pytest's status {code} for {tests}")
    return ("survived" if code == 0 else "killed"), used


def run(file: str, chosen: list[str], tests: list[str], known: dict[str, Any], log: Path, show: bool) -> None:
    """Judges the chosen mutants of a file that have no verdict, in a process of its own; each verdict is a line."""
    text = (PACKAGE / file).read_text(encoding="utf-8")
    version = digest(*(Path(test.split("::")[0]).read_text() for test in tests))
    left = [made for made in chosen if needed(known.get(digest(made)), version)]
    if not left:
        return
    pid = os.fork()
    if pid:
        if os.waitpid(pid, 0)[1]:
            raise SystemExit(f"{file}: not judged")
        return
    status = 1
    try:
        import_all_but(file)
        gc.collect()
        gc.freeze()  # pytest collects garbage when it ends, and need not look at all this
        with log.open("a", encoding="utf-8") as lines:
            verdict, seconds = judge(file, text, tests, 600, show)  # and keeps what it compiles
            if verdict != "survived":
                raise RuntimeError(
                    f"{file}: expected tests that pass before anything is changed, got {verdict}: {tests}"
                )
            print(f"{file}: {len(left)} mutants, {seconds:.1f} s each", flush=True)
            for made in left:
                verdict, used = judge(file, made, tests, 20 + 5 * seconds, show)
                line = {"file": file, **change(text, made), "verdict": verdict, "seconds": round(used, 1)}
                if verdict == "survived":
                    print(f"  line {line['line']}: {line['was']}\n    survived as {line['becomes']}", flush=True)
                print(
                    json.dumps({"mutant": digest(made), "of": digest(text), "tests": version, **line}),
                    file=lines,
                    flush=True,
                )
        status = 0
    except KeyboardInterrupt:
        pass
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def needed(verdict: dict[str, Any] | None, tests: str) -> bool:
    return verdict is None or (verdict["verdict"] == "survived" and verdict["tests"] != tests)


def verdicts(log: Path) -> dict[str, Any]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return {line["mutant"]: line for line in map(json.loads, lines)}


def count(files: list[str], known: list[dict[str, Any]], committed: dict[str, Any]) -> dict[str, Any]:
    """Verdicts by file, of the files as they are now, and what survived without a reason.

    What was committed stays where the file is the same and fewer of its mutants were tried here.
    """
    reasons = tomllib.loads((HERE / "equivalents.toml").read_text(encoding="utf-8"))["equivalent"]
    equivalent = {(entry["file"], entry["was"], entry["becomes"]) for entry in reasons}
    counts: dict[str, dict[str, Any]] = {}
    survivors = []
    for file in files:
        text = (PACKAGE / file).read_text(encoding="utf-8")
        found = [line for line in known if line["file"] == file and line["of"] == digest(text)]
        before = committed.get("files", {}).get(file, {})
        if before.get("of") == digest(text) and before["tried"] > len(found):
            counts[file] = before
            survivors += [line for line in committed["survivors"] if line["file"] == file]
            continue
        alive = [line for line in found if line["verdict"] == "survived"]
        left = [line for line in alive if (file, line["was"], line["becomes"]) not in equivalent]
        counts[file] = {
            "mutants": len(mutants(text)),
            "tried": len(found),
            "killed": len(found) - len(alive),
            "equivalent": len(alive) - len(left),
            "survived": len(left),
            "of": digest(text),
        }
        survivors += [{key: line[key] for key in ("file", "line", "was", "becomes")} for line in left]
    total = {
        key: sum(row[key] for row in counts.values())
        for key in ("mutants", "tried", "killed", "equivalent", "survived")
    }
    share = total["killed"] / max(1, total["killed"] + total["survived"])
    return {
        "killed of those that change a result": f"{share:.1%}",
        "all": total,
        "files": counts,
        "survivors": survivors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--sample", type=int, help="so many mutants of each file, drawn by the seed; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], help="only files whose names contain one of these")
    parser.add_argument("--count", action="store_true", help="try none, only count what was tried before")
    parser.add_argument("--show", action="store_true", help="show what the tests say")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    MADE.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(MADE / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    selections: dict[str, list[str]] = tomllib.loads((HERE / "selections.toml").read_text(encoding="utf-8"))
    log = MADE / "verdicts.jsonl"
    chosen = [file for file in selections if any(part in file for part in arguments.only) and not arguments.count]
    if chosen:
        importlib.import_module("conftest")  # as under pytest, annotations are enforced
    tests = {test.split("::")[0] for file in chosen for test in selections[file]}
    files = [*(PACKAGE / file for file in chosen), *map(Path, sorted(tests))]
    for name in ["pytest", *(name for path in files for name in others(path))] if chosen else []:
        importlib.import_module(name)  # no mutant changes these
    for file in chosen:
        text = (PACKAGE / file).read_text(encoding="utf-8")
        # A larger sample holds a smaller one.
        places = sorted(mutants(text), key=lambda place: digest(str(arguments.seed), file, *map(str, place)))
        programs = (made for made in (mutate(text, place) for place in places) if is_program(made))
        sample = list(itertools.islice(programs, arguments.sample))
        run(file, sample, [*selections[file], f"src/snn_ntk/{file}"], verdicts(log), log, arguments.show)
    path = HERE / "counts.json"
    committed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    counts = count(list(selections), list(verdicts(log).values()), committed)
    made = json.dumps(counts, indent=1, ensure_ascii=False)
    path.write_text(made + "\n", encoding="utf-8")
    print(made)
    sys.exit(bool(counts["survivors"]))


if __name__ == "__main__":
    main()
