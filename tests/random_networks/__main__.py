"""Many random networks, one after the other: `make slow`.

Every network is a line of _build/random-networks/<check>.jsonl, so that a run that is cut off goes on where it was. The
counts go to tests/random_networks/counts.json.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
import time
import warnings
from collections.abc import Collection
from pathlib import Path

import jax
from random_networks.checks import is_refusal, outcome, sampled_violations, violations
from random_networks.networks import draw, is_sampled

ROOT = Path(__file__).parents[2]
COUNTS = Path(__file__).with_name("counts.json")
CHECKS = {"kernels": violations, "sampled": sampled_violations}


def seeds_of(check: str, count: int) -> list[int]:
    """The first `count` seeds whose networks the check is made for."""
    found, seed = [], 0
    while len(found) < count:
        if check == "kernels" or is_sampled(draw(seed)):
            found.append(seed)
        seed += 1
    return found


def ranges(seeds: list[int], known: Collection[int]) -> str:
    """Which of the seeds are known, in runs without a gap."""
    places = [place for place, seed in enumerate(seeds) if seed in known]
    runs = itertools.groupby(enumerate(places), lambda pair: pair[1] - pair[0])
    ends = [[seeds[place] for _, place in run] for _, run in runs]
    return ", ".join(f"{run[0]} to {run[-1]}" for run in ends)


def run(check: str, count: int, seconds: float) -> dict:
    path = ROOT / "_build" / "random-networks" / f"{check}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    known = {line["seed"]: line["outcome"] for line in map(json.loads, lines)}
    seeds, start = seeds_of(check, count), time.monotonic()
    with path.open("a", encoding="utf-8") as file:
        for seed in seeds:
            if seed in known:
                continue
            if time.monotonic() - start > seconds:
                break
            known[seed] = outcome(CHECKS[check], draw(seed))
            print(json.dumps({"seed": seed, "outcome": known[seed]}), file=file, flush=True)
            if isinstance(known[seed], list):
                print(f"\n{draw(seed)}\n    {known[seed]}")
            print(f"\r{check}: {len(known)} of {count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    done = [seed for seed in seeds if seed in known]
    violated = [seed for seed in done if isinstance(known[seed], list)]
    refused = collections.Counter(known[seed] for seed in done if is_refusal(known[seed]))
    return {
        "networks": len(done),
        "seeds": ranges(seeds, known),
        "held": len(done) - len(violated) - sum(refused.values()),
        "refused": dict(sorted(refused.items())),
        "violations": len(violated),
        "violated": violated,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m random_networks", description=__doc__)
    parser.add_argument("--kernels", type=int, default=5000, help="networks whose kernels are looked at")
    parser.add_argument("--sampled", type=int, default=300, help="networks compared with Monte Carlo")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop each of the two after this long")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    jax.config.update("jax_disable_most_optimizations", True)  # they compile far longer than they compute
    counts = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
    for check in CHECKS:
        if getattr(arguments, check):
            counts[check] = run(check, getattr(arguments, check), arguments.seconds)
            COUNTS.write_text(json.dumps(counts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(COUNTS.read_text(encoding="utf-8"))
    sys.exit(any(counts[check]["violations"] for check in CHECKS if check in counts))


if __name__ == "__main__":
    main()
