"""What this machine is, who used its CPUs, and which core a process may use. Linux only.

CPU seconds of processes come from their CPU clocks (nanoseconds), those of the machine from /proc/stat.
What the machine was busy with beyond the processes that we measure and the kernel's own threads is noise.
"""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

KTHREADD = 2
"""The parent of all kernel threads; they write pages and send packets for somebody whom we measure."""


@dataclass(frozen=True)
class Cores:
    """Who runs where. With one core only, everybody shares it, and the report says so."""

    server: int
    load: int

    @property
    def shared(self) -> bool:
        return self.server == self.load


def choose_cores() -> Cores:
    """The first two cores that this process may use: the server's, then the generator's and the sink's."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[0], load=allowed[min(1, len(allowed) - 1)])


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, all threads, also ended ones; 0 if it is gone."""
    if pid <= 0:  # The kernel would take 0 for ourselves.
        return 0.0
    try:
        return time.clock_gettime(
            (~pid << 3) | 2
        )  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED), see clock_getcpuclockid
    except OSError:
        return 0.0


def family(pid: int) -> list[int]:
    """The process and everything that it started and that still runs."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children, in MB (10^6 bytes)."""
    total = 0
    for member in family(pid):
        try:
            total += psutil.Process(member).memory_info().rss
        except psutil.Error:
            continue
    return total / 1e6


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds so far: of the server, the sink, this process, kernel threads, the whole machine."""

    at_s: float
    server_s: float
    sink_s: float
    load_s: float
    kernel_s: float
    machine_s: float
    stolen_s: float

    @classmethod
    def of(cls, servers: Sequence[int], sink: int) -> "CpuReading":
        """Read all of them, one right after the other. servers: what is measured, with all that it started."""
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, _idle, _wait, irq, softirq, steal = (
            tick / os.sysconf("SC_CLK_TCK") for tick in ticks
        )
        return cls(
            at_s=time.monotonic(),
            server_s=sum(cpu_s(pid) for server in servers for pid in family(server)),
            sink_s=cpu_s(sink),
            load_s=time.process_time(),
            kernel_s=sum(map(cpu_s, _kernel_threads())),
            machine_s=user + nice + system + irq + softirq,
            stolen_s=steal,
        )


@dataclass(frozen=True)
class CpuUse:
    """What was used between two readings, in seconds."""

    wall_s: float
    server_s: float
    sink_s: float
    load_s: float
    noise_s: float

    @classmethod
    def between(cls, before: CpuReading, after: CpuReading) -> "CpuUse":
        server_s, sink_s = after.server_s - before.server_s, after.sink_s - before.sink_s
        load_s, kernel_s = after.load_s - before.load_s, after.kernel_s - before.kernel_s
        busy_s = after.machine_s - before.machine_s + after.stolen_s - before.stolen_s
        return cls(
            wall_s=after.at_s - before.at_s,
            server_s=server_s,
            sink_s=sink_s,
            load_s=load_s,
            noise_s=max(0.0, busy_s - server_s - sink_s - load_s - kernel_s),
        )


def _kernel_threads() -> list[int]:
    threads = []
    for pid in psutil.pids():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == KTHREADD:
            threads.append(pid)
    return threads


def wait_for_quiet(*, busy_max: float, until_s: float) -> None:
    """Wait until others use less than `busy_max` cores for half a second, or `until_s` seconds are over."""
    deadline = time.monotonic() + until_s
    while time.monotonic() < deadline:
        before = CpuReading.of([], 0)
        time.sleep(0.5)
        use = CpuUse.between(before, CpuReading.of([], 0))
        if use.noise_s <= busy_max * use.wall_s:
            return


def fsync_us(folder: Path) -> float:
    """Median microseconds to append and sync 4 KiB there: what one durable commit costs at least."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            at = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - at)
    return statistics.median(times) * 1e6


def filesystem_of(folder: Path) -> str:
    """The type of the file system that holds this folder, such as ext4 or tmpfs."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def facts(*, stores: Path, cores: Cores, peer: str) -> dict[str, str]:
    """What a reader needs to judge the figures; no host name, no path.

    stores: the folder that the servers' data is put in. peer: the peer's version in words.
    """
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory_gb = psutil.virtual_memory().total / 1e9
    try:
        import apsw

        sqlite = f"{apsw.sqlite_lib_version()} (apsw)"
    except ImportError:
        sqlite = f"{sqlite3.sqlite_version} (standard library)"
    pinned = (
        "server and load share one core" if cores.shared else "server on one core, load and sink on another"
    )
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": f"{os.cpu_count()}; {pinned}",
        "memory": f"{memory_gb:.1f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": f"{filesystem_of(stores)}, fdatasync of 4 KiB takes {fsync_us(stores):.0f} us",
        "python": platform.python_version(),
        "sqlite": sqlite,
        "alertmanager": peer,
    }
