"""Seconds of each score of disentanglement at the study's sizes, and ratios to the usual way, measured in turns in one run.

    python benchmarks/disentanglement.py [--latent 10 200] [--repeats 3]

10,000 codes to fit and 5,000 held out; the grids of factors are those of dSprites and of Cars3D. The usual ways: for MIG,
scikit-learn's mutual information pair by pair; for SAP, one LinearSVC for each pair, of which a sample of pairs is run; for
the two sampled scores, looking their codes up in a table, without which no score can be had. Every time is the
processor's, so that what else the machine does counts less.
"""

import argparse
import json
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from snn_ntk import disentanglement

GRIDS = {"dsprites": (3, 6, 40, 32, 32), "cars": (4, 24, 183)}
TRAIN, TEST = 10_000, 5_000
PAIRS = 6  # of a coordinate and a factor, for which the peer's machines are fitted


def clock(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def codes_of(sizes, latent, rng):
    """Codes that mix a few factors each and are blurred a little, as a trained encoder's are."""
    mixing = rng.normal(size=(len(sizes), latent)) * (rng.random((len(sizes), latent)) < 0.4)
    offsets = 0.1 * rng.normal(size=(4096, latent))

    def encode(factors):
        return (factors / sizes) @ mixing + offsets[(factors * [7, 31, 101, 257, 1021][: len(sizes)]).sum(1) % 4096]

    return encode


def peer_mig(codes, factors):
    for j in range(codes.shape[1]):
        bins = np.digitize(codes[:, j], np.histogram_bin_edges(codes[:, j], 20)[1:-1])
        for k in range(factors.shape[1]):
            mutual_info_score(factors[:, k], bins)


def peer_sap(codes, factors, pairs):
    for j, k in pairs:
        LinearSVC(C=0.01, class_weight="balanced").fit(codes[:, [j]], factors[:, k])


def measure(name, latent, repeats):
    rng = np.random.default_rng(0)
    sizes = np.array(GRIDS[name])
    sampler: Any = SimpleNamespace(
        factor_sizes=GRIDS[name], sample_factors=lambda rng, n: rng.integers(0, sizes, (n, len(sizes)))
    )
    encode = codes_of(sizes, latent, rng)
    v, v_test = (sampler.sample_factors(rng, n) for n in (TRAIN, TEST))
    z, z_test = encode(v), encode(v_test)
    pairs = [(rng.integers(latent), k % len(sizes)) for k in range(PAIRS)]
    # Look-ups in a table of the codes, as many and in as large parts as the score makes.
    table = rng.normal(size=(50_000, latent)).astype(np.float32)
    rows = rng.integers(0, len(table), 16_000)

    def table_encode(factors):
        return table[(factors * [1, 7, 51, 301, 2003][: len(sizes)]).sum(axis=1) % len(table)]

    def look_up(count):
        for _ in range(count // len(rows)):
            table[rows]

    points = TRAIN + TEST
    options = {"rng": rng, "train": TRAIN, "test": TEST}
    contenders = {
        "mig": (lambda: disentanglement.mig(z, v), lambda: peer_mig(z, v), 1.0),
        "modularity": (lambda: disentanglement.modularity(z, v), None, 1.0),
        "sap": (
            lambda: disentanglement.sap(z, v, z_test, v_test),
            lambda: peer_sap(z, v, pairs),
            latent * len(sizes) / len(pairs),
        ),
        "dci": (lambda: disentanglement.dci(z, v, z_test, v_test), None, 1.0),
        "beta_vae": (
            lambda: disentanglement.beta_vae(sampler, table_encode, **options),
            lambda: look_up(points * 128),
            1.0,
        ),
        "factor_vae": (
            lambda: disentanglement.factor_vae(sampler, table_encode, **options),
            lambda: look_up(points * 64),
            1.0,
        ),
    }
    for score, (ours, peer, scale) in contenders.items():
        pairs_of_times = [(clock(ours), scale * clock(peer) if peer else np.nan) for _ in range(repeats)]
        seconds, other = np.array(pairs_of_times).min(axis=0)
        row = {"grid": name, "latent": latent, "score": score, "seconds": round(float(seconds), 2)}
        if peer:
            row |= {"peer_seconds": round(float(other), 2), "ratio": round(float(seconds / other), 3)}
        print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--latent", type=int, nargs="+", default=[10, 200])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for name in GRIDS:
        for latent in arguments.latent:
            measure(name, latent, arguments.repeats)


if __name__ == "__main__":
    main()
