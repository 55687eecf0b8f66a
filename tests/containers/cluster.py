"""A Slurm of one node: its own configuration, key, ports and folder, gone when the test ends."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from tests.containers.tools import Done, call, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHAT_FOR = "a Slurm of one node is started with it (Debian: slurm-wlm, munge)"
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MinJobAge=3600
SchedulerParameters=sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} RealMemory={memory} TmpDisk={disk}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@frozen
class Job:
    """A finished job: what Slurm says became of it."""

    state: str
    exit_code: int
    signal: int


@frozen
class Cluster:
    """A running Slurm; ``environment`` is what its commands need."""

    environment: dict[str, str]

    def call(self, *words: str | Path, **environment: str) -> Done:
        """Run a command as a user of the cluster would."""
        return call(*words, **{**self.environment, **environment})

    def begin(self, *words: str | Path, **environment: str) -> str:
        """Submit a script, and do not wait for it; its number."""
        done = self.call("sbatch", "--parsable", *words, **environment)
        assert done.out.strip().isdecimal(), done
        return done.out.strip()

    def submit(self, *words: str | Path, **environment: str) -> str:
        """Submit a script and wait until it, or all of an array, has ended; its number."""
        return self.begin("--wait", *words, **environment)

    def jobs(self, number: str) -> dict[str, Job]:
        """The jobs of a number; those of an array by their index."""
        done = self.call("scontrol", "--oneliner", "show", "job", number)
        assert done.code == 0, done
        found = {}
        for line in done.out.splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            code, signal = fields["ExitCode"].split(":")
            index = fields.get("ArrayTaskId", "0")
            found[index] = Job(fields["JobState"], int(code), int(signal))
        return found


@contextmanager
def one_node(folder: Path) -> Iterator[Cluster]:
    """Start Slurm with all its state in a folder, end it and nothing else."""
    programs = {name: program(name, WHAT_FOR) for name in ("munged", "slurmctld", "slurmd")}
    program("sbatch", WHAT_FOR)
    _configure(folder)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as running:

        def start(*words: str) -> None:
            running.enter_context(_running(folder, environment, *words))

        start(
            *(programs["munged"], "--foreground", "--force", "--num-threads=2"),
            *(f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"),
            *(f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed"),
        )
        _wait((folder / "munge.socket").exists, "munged", folder)
        start(programs["slurmctld"], "-D", "-c")
        start(programs["slurmd"], "-D", "-c", "-N", _host())
        cluster = Cluster(environment)
        _wait(lambda: "idle" in cluster.call("sinfo", "-h", "-o", "%T").out, "Slurm", folder)
        yield cluster
        cluster.call("scancel", "--state=RUNNING,PENDING", "--me")


def _configure(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in ("controller", "node"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=_host(),
            folder=folder,
            user=_user(),
            ports=_free_ports(2),
            processors=os.cpu_count(),
            memory=int(memory * 0.9),
            disk=shutil.disk_usage(folder).free // 2**20,
        )
    )


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def _running(folder: Path, environment: dict[str, str], *words: str) -> Iterator[None]:
    """A program in the background, ended with all it has started."""
    with (folder / f"{Path(words[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(ready: Callable[[], bool], event: str, seconds: float) -> None:
    """Wait for something; fail if it takes longer."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{event} did not come within {seconds:.0f} s."
        time.sleep(0.5)


def _wait(ready: Callable[[], bool], program_name: str, folder: Path) -> None:
    try:
        wait_until(ready, f"The start of {program_name}", seconds=90)
    except AssertionError as error:
        logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in folder.glob("*.log"))
        raise AssertionError(f"{error}\n{logs}") from error
