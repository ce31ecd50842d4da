"""Random configurations for an hour, one after the other: `make slow`.

Every seed is a line of _build/fuzz/<check>.jsonl, so that a run that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
import time
import warnings
from pathlib import Path

import jax
from fuzz import closed_forms, finite_networks

ROOT = Path(__file__).parents[2]
CHECKS = {"closed-forms": closed_forms.violations, "finite-networks": finite_networks.violations}


def run(check: str, seconds: float) -> dict:
    path = ROOT / "_build" / "fuzz" / f"{check}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    known = {line["seed"]: line for line in map(json.loads, lines)}
    spent = sum(line["seconds"] for line in known.values())
    with path.open("a", encoding="utf-8") as file:
        for seed in itertools.count():
            if seed in known:
                continue
            if spent > seconds:
                break
            start = time.monotonic()
            try:
                outcome = CHECKS[check](seed)
            except Exception as error:
                outcome = [f"{type(error).__name__}: {error}"]
            known[seed] = {"seed": seed, "outcome": outcome, "seconds": time.monotonic() - start}
            spent += known[seed]["seconds"]
            print(json.dumps(known[seed], ensure_ascii=False), file=file, flush=True)
            if isinstance(outcome, list):
                print(f"\nseed {seed}: {outcome}", flush=True)
            # A program is compiled for every seed and not needed again.
            jax.clear_caches()
    kinds = collections.Counter(
        "violated" if isinstance(line["outcome"], list) else line["outcome"].split(":")[0] for line in known.values()
    )
    return {"seeds": len(known), **kinds}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="of each of the two, with what earlier runs took")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    jax.config.update("jax_disable_most_optimizations", True)  # they compile far longer than they compute
    counts = {check: run(check, arguments.seconds) for check in CHECKS}
    print(json.dumps(counts, indent=1))
    sys.exit(any(count.get("violated", 0) for count in counts.values()))


if __name__ == "__main__":
    main()
