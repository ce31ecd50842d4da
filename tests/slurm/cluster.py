"""A Slurm of one node on this machine, to try the cluster's profile on: `cluster.py start FOLDER`, `cluster.py stop FOLDER`.

It needs Debian's or Ubuntu's packages slurm-wlm and munge, and root. Configuration, key, sockets, states and logs lie
in FOLDER. Outside it, one thing is written: the link /etc/slurm/slurm.conf to FOLDER/slurm.conf, because the executor
plugin clears the variables that would lead a job's own `srun` there. Where another configuration is, nothing is
started. Daemons listen on 127.0.0.1 only, and `stop` removes the link.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["LINK", "PROGRAMS", "cluster", "start", "stop"]

LINK = Path("/etc/slurm/slurm.conf")
DAEMONS = ("slurmd", "slurmctld", "munged")  # in the order in which they are stopped
PROGRAMS = (*DAEMONS, "mungekey", "sbatch", "srun", "squeue", "scancel", "scontrol")
MADE_BY = "# Made by tests/slurm/cluster.py of snn-ntk."

# No accounting, no control groups, no systemd. Two processors and two cards without a device are declared, whatever the
# machine has (`config_overrides`): memory is not shared out. A job that is cancelled has two seconds to end by itself.
CONFIGURATION = """\
{made_by}
ClusterName=snn-ntk
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munged.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=2
MinJobAge=86400
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"expected {what} within {seconds:.0f} s")
        time.sleep(0.1)


def _call(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _process(folder: Path, daemon: str) -> int | None:
    """A daemon of the folder by the number that it wrote down; None if it does not run."""
    try:
        pid = int((folder / f"{daemon}.pid").read_text())
        return pid if Path(f"/proc/{pid}/comm").read_text().strip() == daemon else None
    except (OSError, ValueError):
        return None


def _ours() -> Path | None:
    """The folder to which the link leads; None where there is none.

    Raises:
        RuntimeError: If there is another configuration: this machine has a Slurm of its own.
    """
    if not LINK.is_symlink() and not LINK.exists():
        return None
    if LINK.is_symlink():
        target = LINK.readlink()
        if not target.exists() or target.read_text().startswith(MADE_BY):
            return target.parent
    raise RuntimeError(f"expected no {LINK}, got one: this machine has a Slurm of its own, which is left alone")


def start(folder: Path) -> None:
    """Starts Slurm in an empty folder, and stops one that was left running in another.

    Raises:
        RuntimeError: If it does not come up, something that it needs is missing, or the machine has a Slurm.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise RuntimeError(f"expected Debian's packages slurm-wlm and munge, got none of {', '.join(missing)}")
    if os.geteuid():
        raise RuntimeError(f"expected to be root, which the daemons and {LINK} need, got another user")
    if (left := _ours()) is not None:
        stop(left)
    folder = folder.resolve()
    # munged wants every folder above its socket open to all and writable for its owner only.
    folder.mkdir(mode=0o755, parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir(mode=0o755)
    host = socket.gethostname().partition(".")[0]
    configuration = CONFIGURATION.format(made_by=MADE_BY, host=host, folder=folder, ports=_free_ports(2))
    (folder / "slurm.conf").write_text(configuration)
    # Slurm counts gpus by their devices and looks no further at them. These two every machine has.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null,/dev/zero\n")
    LINK.parent.mkdir(exist_ok=True)
    LINK.symlink_to(folder / "slurm.conf")
    try:
        subprocess.run(["mungekey", "--create", f"--keyfile={folder}/munge.key"], check=True)
        places = {"key-file": "munge.key", "socket": "munged.socket"}
        places |= {f"{kind}-file": f"munged.{kind}" for kind in ("pid", "log", "seed")}
        subprocess.run(["munged", *(f"--{name}={folder / file}" for name, file in places.items())], check=True)
        environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon], check=True, env=environment, cwd=folder)
        _wait(lambda: _call("sinfo", "--noheader", "--format=%T").strip() == "idle", "an idle node of Slurm")
    except (subprocess.CalledProcessError, RuntimeError) as error:
        logs = "\n".join(path.read_text()[-1000:] for path in sorted(folder.glob("*.log")))
        stop(folder)
        raise RuntimeError(f"{error}\n{logs}") from None


def stop(folder: Path) -> None:
    """Ends the jobs and the daemons of a folder and removes the link to it. The folder stays."""
    if _process(folder, "slurmctld"):
        _call("scancel", "--user=root")
        with contextlib.suppress(RuntimeError):
            _wait(lambda: not _call("squeue", "--noheader").strip(), "the end of all jobs")
    for daemon in DAEMONS:
        if pid := _process(folder, daemon):
            os.kill(pid, signal.SIGTERM)
            _wait(lambda daemon=daemon: _process(folder, daemon) is None, f"{daemon} to end")
    if LINK.is_symlink() and LINK.readlink().parent == folder:
        LINK.unlink()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A Slurm that is stopped at the end of the block."""
    start(folder)
    try:
        yield
    finally:
        stop(folder.resolve())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        start(arguments.folder) if arguments.action == "start" else stop(arguments.folder.resolve())
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
