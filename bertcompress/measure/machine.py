"""The machine that a latency holds for, and the CPUs that a measurement is held to."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnxruntime as ort

from bertcompress.errors import ExportError

GLANCE_SECONDS = 0.1
BUSY_SHARE = 0.25
_CPUS = Path("/sys/devices/system/cpu")


def num_cpus() -> int:
    """CPUs that this process may use, which a container can hold below those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_cpus(num_threads: int) -> tuple[int, ...]:
    """The CPUs for so many threads: a core each where there are enough; none where threads outnumber CPUs.

    Idle CPUs first, then from the highest number downwards, since the first CPU serves most interrupts. Empty
    on systems that cannot hold a thread to a CPU.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    if num_threads > len(allowed):
        return ()
    if num_threads < len(allowed):
        # Two measurements at the same time would else meet on one CPU.
        busy = _busy_cpus()
        allowed.sort(key=busy.__contains__)
    cores: dict[str, int] = {}
    for cpu in allowed:
        cores.setdefault(_siblings(cpu), cpu)
    one_a_core = list(cores.values())
    others = [cpu for cpu in allowed if cpu not in one_a_core]
    return tuple(sorted((one_a_core + others)[:num_threads]))


@contextmanager
def pinned(num_threads: int) -> Iterator[tuple[int, ...]]:
    """Hold this thread, and threads that it starts meanwhile, to as many CPUs as threads; yields the CPUs.

    Sessions must be opened inside: their threads keep the CPUs of the thread that opened them.
    """
    cpus = choose_cpus(num_threads)
    if not cpus:
        yield ()
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield cpus
    finally:
        os.sched_setaffinity(0, before)


def _siblings(cpu: int) -> str:
    """What tells the core of a CPU: the list of the CPUs that share it, or the CPU itself."""
    try:
        return (_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _busy_cpus() -> frozenset[int]:
    """CPUs that were busy for at least a quarter of a short moment; none where the system does not tell."""
    before = _idle_ticks()
    time.sleep(GLANCE_SECONDS)
    after = _idle_ticks()
    idle_ticks = (1 - BUSY_SHARE) * GLANCE_SECONDS * os.sysconf("SC_CLK_TCK")
    return frozenset(cpu for cpu in after if after[cpu] - before.get(cpu, 0) < idle_ticks)


def _idle_ticks() -> dict[int, int]:
    """Ticks that each CPU has idled so far, those waiting for a disk included."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines if line.startswith("cpu") and line[3].isdecimal()]
    return {int(row[0][3:]): int(row[4]) + int(row[5]) for row in rows}


def cpu_model() -> str:
    """The processor's name with its family and model numbers, since clouds shorten the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in lines:
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip(), value.strip())
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"


def gpu_model() -> str:
    """The first GPU's name as its driver tells it.

    Raises:
        ExportError: the driver's tool does not answer.
    """
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise ExportError(f"provider cuda: nvidia-smi does not answer ({error}); check the driver") from error
    return answer.stdout.splitlines()[0].strip()


def machine_key(provider: str = "cpu") -> str:
    """What a stored latency is valid for: the device that computes and the version of ONNX Runtime."""
    device = cpu_model() if provider == "cpu" else f"{gpu_model()}, {cpu_model()}"
    return f"{device}, onnxruntime {ort.__version__}"
