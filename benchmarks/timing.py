"""Times of calls in one process, one after the other in turns, so that whatever else the machine does falls on all of them."""

import time
from collections.abc import Callable

import jax


def seconds(call: Callable[[], object]) -> float:
    """Of the processor, in which other processes' shares of the machine are not; of the wall where a card computes."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    start = clock()
    jax.block_until_ready(call())
    return clock() - start


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call, one after the other in each repeat, after a first call that compiles."""
    for call in calls.values():
        jax.block_until_ready(call())
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times
