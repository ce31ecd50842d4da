"""Uses a card for some minutes: `make campaign PROFILE=gpu MINUTES=8` calls this, and so does a bundle's run.sh.

Each part of `campaign.yml` is a process of its own, so that one that fails, dies or hangs is named and the rest goes on.
Every finished result is written as it comes, and at the end all of them are packed into one file, which
`make results FROM=…` merges. A second call goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from campaign_plan import Log, groups, read_plan
from paths import WORKFLOW, Paths, files

__all__ = ["main", "out_folder", "pack"]

# Seconds that a part may overstay before it is stopped: what it is writing gets written.
GRACE = 20
# Trained models up to this size are packed too: pictures are drawn from them.
STATE_BYTES = 32 * 2**20
COMMAND_BUFFERS = "--xla_gpu_enable_command_buffer=+WHILE,+CONDITIONAL"


def out_folder(root: Path, profile: str, scale: float) -> Path:
    """Where results go: at full size where the build puts them, else into a folder of their own, never to be merged."""
    return Paths(root, profile).out if scale == 1 else root / "_build" / "rehearsal" / f"{profile}-{scale:g}"


def _sources(root: Path) -> str:
    digest = hashlib.sha256()
    for name in files(*(root / folder for folder in ("src", "workflow", "notebooks", "profiles"))):
        digest.update(Path(name).relative_to(root).as_posix().encode() + b"\0" + Path(name).read_bytes())
    return digest.hexdigest()[:16]


def _environment(root: Path, out: Path) -> dict[str, str]:
    more = {
        # Whatever is judged asks for full products; a card's default keeps fewer bits.
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CI": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root / "src"), os.environ.get("PYTHONPATH")))),
    }
    if os.environ.get("JAX_PLATFORMS") != "cpu":
        # Compilation is most of what a short program takes on a card: a second call finds its programs.
        more |= {"JAX_COMPILATION_CACHE_DIR": str(out / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return os.environ | more


def _run(command: list[str], environment: dict[str, str], until: float) -> str | None:
    """Runs a part to its end, or stops it after its time; returns what went wrong."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = process.wait(timeout=max(1.0, until + GRACE - time.time()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "stopped: out of time; what it had written is kept"
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return None if code == 0 else f"its process ended with {code}"


def pack(out: Path, manifest: dict[str, Any]) -> Path:
    """Everything that came out in one file: runs, the log, chapters' records, small trained states."""
    kept = [*out.glob("sweeps/*/*.json"), *out.glob("campaign/*.json*")]
    kept += [path for path in out.glob("campaign/checkpoints/10-*/*.npz") if path.stat().st_size <= STATE_BYTES]
    for profile in ("smoke", "gpu"):
        kept += (out.parent / profile).glob("chapters/*/*.json")
    archive = out / "campaign.tar.gz"
    with tarfile.open(archive.with_suffix(".part"), "w:gz") as tar:
        text = json.dumps(manifest, indent=1).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
        for path in sorted({path.resolve(): path for path in kept}.values()):
            inside = path.relative_to(out) if path.is_relative_to(out) else Path("book") / path.relative_to(out.parent)
            tar.add(path, inside.as_posix())
    os.replace(archive.with_suffix(".part"), archive)
    return archive


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps; below 1 it is a rehearsal")
    parser.add_argument("--parts", default="", help="only these, separated by commas or spaces")
    parser.add_argument("--copy-to", type=Path, help="where the packed results are wanted too")
    options = parser.parse_args(arguments)
    root, started = options.root.resolve(), time.time()
    try:
        plan = read_plan(options.parts.replace(",", " ").split())
        out = out_folder(root, options.profile, options.scale)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    until, sources = started + 60 * options.minutes, _sources(root)
    log = Log(out / "campaign" / "log.jsonl", sources)
    environment, before = _environment(root, out), len(log.lines())
    flags = environment.get("XLA_FLAGS", "")

    def run(entry: dict[str, Any], flags: str, *more: str) -> None:
        part, noted = entry["part"], len(log.lines())
        command = [sys.executable, str(WORKFLOW / "campaign_part.py"), part, "--root", str(root)]
        command += ["--profile", options.profile, "--scale", str(options.scale), "--until", str(until)]
        command += ["--sources", sources, *more]
        why = "no time was left"
        if time.time() < until and (why := _run(command, environment | {"XLA_FLAGS": flags}, until)) is None:
            return
        # What the part itself could not say any more.
        said = {line["name"] for line in log.lines()[noted:]}
        names = [group.name for group in groups(entry.get("sweep", []), options.scale)] or ["the rest of it"]
        for name in names:
            if name not in said:
                log.add(part, name, "left out" if time.time() >= until else "failed", why=why)

    for entry in plan:
        part = entry["part"]
        if part == "command-buffers":
            run(entry, flags, "--tag", "without")
            if _probe(log, "without") is not None:
                run(entry, f"{flags} {COMMAND_BUFFERS}", "--tag", "with")
                if (_probe(log, "with") or float("inf")) < 0.9 * (_probe(log, "without") or 0.0):
                    flags = f"{flags} {COMMAND_BUFFERS}"
        else:
            run(entry, flags)
    lines = log.lines()[before:]
    manifest = {"profile": options.profile, "scale": options.scale, "minutes": options.minutes, "sources": sources}
    archive = pack(out, manifest | {"seconds": time.time() - started})
    if options.copy_to:
        archive = Path(shutil.copy(archive, options.copy_to))
    counts = {o: sum(line["outcome"] == o for line in lines) for o in ("done", "there already", "left out", "failed")}
    print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    print(f"{(time.time() - started) / 60:.1f} of {options.minutes:g} minutes; the same command goes on")
    print(f"Packed: {os.path.relpath(archive)} ({archive.stat().st_size / 1e6:.1f} MB); merge it: make results FROM=…")
    return int(counts["failed"] > 0)


def _probe(log: Log, tag: str) -> float | None:
    """Milliseconds a step that a probe measured, or None."""
    found = [line["milliseconds"] for line in log.lines() if line["name"] == tag and "milliseconds" in line]
    return found[-1] if found else None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. What is finished is kept; the same command goes on.")
