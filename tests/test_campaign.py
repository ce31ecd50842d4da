"""The campaign: what is made in which order, what fits the time, what goes on, and what is packed and merged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time

import campaign
import campaign_plan
import pytest
import yaml
from campaign_makers import MAKERS, Maker, Step
from campaign_part import do_groups
from campaign_plan import Log, does_fit, groups, longest, read_plan
from collect import collect_packed
from parameters import known_parameters, stages
from paths import Paths

from snn_ntk.reporting import load_results

ROOT = Paths(campaign_plan.WORKFLOW.parent, "gpu")
SWEEP = [{"m": [8, 16, 32], "seed": [0, 1], "steps": 100}]
STAMP = {"versions": {"jax": "0.0"}, "sources": "abc", "device": "a card"}


def test_the_plan_names_runs_that_its_makers_can_make():
    plan = read_plan()
    assert [part["part"] for part in plan][:4] == ["agreement", "command-buffers", "figure-2-classes", "figure-3"]
    for part in plan:
        if "sweep" in part:
            known = known_parameters(ROOT.sweep(part["chapter"]).read_text(), part["chapter"])
            assert part["chapter"] in MAKERS
            for group in groups(part["sweep"]):
                assert set(group.parameters) <= set(known)
                assert not part.get("longest") or all(f"steps{group.parameters['steps']}" in n for n in group.runs)
    with pytest.raises(ValueError, match=r"got \['figure-9'\]"):
        read_plan(["figure-9"])


def test_a_run_of_the_campaign_is_the_run_of_its_name_in_the_sweep():
    sweep = {name: p for stage in stages(ROOT)["09-weight-movement"] for name, p in stage.items()}
    (part,) = read_plan(["figure-2-classes"])
    mine = {n: g.parameters | {"seed": seed} for g in groups(part["sweep"]) for n, seed in g.runs.items()}
    both = set(mine) & set(sweep)
    assert len(both) == 35
    assert all(mine[name] == sweep[name] for name in both)


def test_seeds_go_together_and_the_order_is_the_plans():
    found = groups([{"seed": [1, 2], "m": [10, 200, 50], "steps": 300}], 0.1)
    assert [group.parameters for group in found] == [{"m": m, "steps": 30} for m in (10, 200, 50)]
    assert found[0].runs == {"seed1_m10": 1, "seed2_m10": 2}
    assert found[0].name == "seed1_m10 and 1 more seeds"
    assert groups([{"m": [1], "steps": [5000], "seed": [0]}], 0.01)[0].runs == {"m1_steps50_seed0": 0}


def test_what_fits_is_steps_and_the_rest_with_a_margin():
    assert does_fit(1000, 0.01, 5, 16.0)
    assert not does_fit(1000, 0.01, 5, 15.9)
    assert longest(2**17, 0.001, 0, 1.1 * 8.192) == 8192
    assert longest(2**17, 0.001, 0, 1.1 * 8.192 - 0.01) == 4096
    assert longest(2**17, 1e-9, 0, 10) == 2**17
    assert longest(2**17, 1.0, 5, 4) == 0


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def play(tmp_path, clock, until, *, slow=16, broken=(), part=None, sweep=SWEEP):
    """Runs of a made-up chapter: a step takes a tenth of a second, beyond m = `slow` ten."""
    made = []
    log = Log(tmp_path / "campaign" / "log.jsonl", "abc", clock)

    def make(seeds, checkpoint, parameters):
        if parameters["m"] in broken:
            raise FloatingPointError("not finite")
        made.append((parameters["m"], list(seeds), parameters["steps"]))
        clock.now += 0.1 * parameters["steps"] + 3
        return [{"y": seed} for seed in seeds]

    maker = Maker(lambda seeds, p: Step(0.1 if p["m"] <= slow else 10.0, 1.0, 1.0), make)
    do_groups(
        groups(sweep), maker, log, part={"part": "a", "chapter": "01-a", "rest": 5} | (part or {}), out=tmp_path,
        stamp=STAMP, defaults={"m": 1, "seed": 0, "steps": 1, "noise": "frozen", "profile": "x"}, until=until,
    )  # fmt: skip
    return made, {line["name"]: line["outcome"] for line in log.lines()}


def test_what_does_not_fit_is_left_out_by_name_and_a_second_call_goes_on(tmp_path):
    clock = Clock()
    made, outcomes = play(tmp_path, clock, 30.0)
    assert made == [(8, [0, 1], 100), (16, [0, 1], 100)]
    assert outcomes == {
        "m8_seed0 and 1 more seeds": "done",
        "m16_seed0 and 1 more seeds": "done",
        "m32_seed0 and 1 more seeds": "left out",
    }
    run = json.loads((tmp_path / "sweeps" / "01-a" / "m8_seed1.json").read_text())
    assert run["parameters"] == {"m": 8, "noise": "frozen", "steps": 100, "seed": 1}
    assert run["provenance"] == STAMP | {"side_by_side": 2}

    # One seed is gone, and there is time for what was left out: only these two are made.
    (tmp_path / "sweeps" / "01-a" / "m16_seed1.json").unlink()
    made, outcomes = play(tmp_path, clock, 1e6)
    assert made == [(16, [1], 100), (32, [0, 1], 100)]
    assert outcomes["m8_seed0 and 1 more seeds"] == "there already"


def test_a_run_that_fails_does_not_stop_the_next(tmp_path):
    made, outcomes = play(tmp_path, Clock(), 1e6, broken=(8,))
    assert [m for m, *_ in made] == [16, 32]
    assert outcomes["m8_seed0 and 1 more seeds"] == "failed"


def test_the_longest_run_that_fits_is_named_by_its_steps(tmp_path):
    sweep = [{"m": [8], "steps": [1024], "seed": [0]}]
    made, _ = play(tmp_path, Clock(), 5 + 1.1 * 0.1 * 300, sweep=sweep, part={"longest": True})
    assert made == [(8, [0], 256)]
    assert (tmp_path / "sweeps" / "01-a" / "m8_steps256_seed0.json").is_file()


def test_what_was_packed_is_merged_and_a_rehearsal_is_not(tmp_path):
    out = tmp_path / "_build" / "gpu"
    play(out, Clock(), 30.0)
    archive = campaign.pack(out, {"scale": 1})
    with tarfile.open(archive) as tar:
        assert {"manifest.json", "campaign/log.jsonl", "sweeps/01-a/m8_seed0.json"} <= set(tar.getnames())
    runs = ["m16_seed0", "m16_seed1", "m8_seed0", "m8_seed1"]
    assert collect_packed(tmp_path, archive) == {"01-a": runs, "campaign": ["steps"]}
    steps = load_results("campaign", root=tmp_path)
    assert steps is not None
    table = steps["series"]["runs"]["steps"]["result"]
    assert {name: row["milliseconds"] for name, row in table.items()} == {
        "m8_seed0 and 1 more seeds": 100.0,
        "m16_seed0 and 1 more seeds": 100.0,
        "m32_seed0 and 1 more seeds": 10_000.0,
    }
    found = load_results("01-a", root=tmp_path)
    assert found is not None
    assert found["series"]["runs"]["m8_seed1"]["result"] == {"y": 1}
    assert [group["device"] for group in found["provenance"]["groups"]] == ["a card"]

    shorter = campaign.pack(out, {"scale": 0.01})
    with pytest.raises(ValueError, match=r"a rehearsal at 0.01"):
        collect_packed(tmp_path, shorter)
    assert collect_packed(tmp_path, shorter, rehearsal=True)
    (tmp_path / "x").write_text("no archive")
    with pytest.raises(ValueError, match="what a campaign packed, got another file"):
        collect_packed(tmp_path, tmp_path / "x")


def test_a_part_that_dies_or_hangs_is_stopped_and_said():
    python = [sys.executable, "-c"]
    assert campaign._run([*python, ""], dict(os.environ), time.time() + 60) is None
    assert (
        campaign._run([*python, "raise SystemExit(3)"], dict(os.environ), time.time() + 60)
        == "its process ended with 3"
    )
    hangs = campaign._run([*python, "import time; time.sleep(600)"], dict(os.environ), time.time() - campaign.GRACE)
    assert hangs is not None
    assert hangs.startswith("stopped: out of time")


def test_a_rehearsal_never_writes_where_full_runs_lie(tmp_path):
    assert campaign.out_folder(tmp_path, "gpu", 1.0) == Paths(tmp_path, "gpu").out
    assert Paths(tmp_path, "gpu").out not in campaign.out_folder(tmp_path, "gpu", 0.01).parents


def test_the_workflow_for_a_card_runs_what_make_has_and_merges_what_the_campaign_packs():
    workflow = yaml.safe_load((ROOT.root / ".github" / "workflows" / "gpu.yml").read_text())
    steps = workflow["jobs"]["campaign"]["steps"]
    lines = [line for step in steps for line in step.get("run", "").splitlines() if line.startswith("make ")]
    assert [line.split()[1] for line in lines] == ["campaign", "results"]
    packed = campaign.out_folder(ROOT.root, "gpu", 1.0) / "campaign.tar.gz"
    assert f"FROM={packed.relative_to(ROOT.root)}" in lines[1]
    assert packed.relative_to(ROOT.root).as_posix() in [step.get("with", {}).get("path") for step in steps]
    for line in lines:
        command = ["make", "--dry-run", *line.split()[1:]]
        done = subprocess.run(command, cwd=ROOT.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


LEVELS = {"dsprites": {"scale": 2, "orientation": 2, "posX": 4, "posY": 4}}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("chapter", "parameters"),
    [
        ("09-weight-movement", {"targets": "classes", "outputs": 10, "width": 8, "n": 4, "learning_rate": 1.0}),
        ("10-disentanglement", {"setting": "tiny", "data": "dsprites", "m": 3, "beta": 1.0, "levels": LEVELS}),
        ("13-asymmetrical-scaling", {"data": "airfoil", "configuration": "gamma=1.0"}),
    ],
)
def test_every_maker_times_a_step_and_makes_its_runs(chapter, parameters, tmp_path):
    parameters = parameters | {"steps": 2}
    step = MAKERS[chapter].step([0, 1], parameters)
    one = MAKERS[chapter].step([0], parameters)
    assert step.seconds > 0
    # Two seeds read and write twice as many weights, and have twice as many operations.
    assert (step.bytes, step.operations) == (2 * one.bytes, 2 * one.operations)
    assert one.operations > 0
    more = {"points": 200} if chapter.startswith("10") else {}
    runs = MAKERS[chapter].make([0, 1], tmp_path / "checkpoint.npz", parameters | more)
    assert len(runs) == 2
    assert json.loads(json.dumps(runs))[0] != runs[1]
