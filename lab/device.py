"""Where tensors live and how many threads work on them."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lab.errors import InputError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def choose(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the GPU when torch sees one, else the CPU.

    Raises InputError for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds no numbers
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # and some twenty names
            reason = "no such device"
        raise InputError(f"device {name!r} cannot be used ({reason}); use auto, cpu or cuda") from None
    return device


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch work with `number` CPU threads inside (0: half the cores).

    Small networks want 1: handing a millisecond's work to a second thread costs more than it saves, and where another
    program keeps that core busy, the threads wait for each other (20 times slower, measured on 2 cores). For the same
    reason a network beside an emulator gets half the cores: learning Pong on 2 cores that were not idle went at 210
    agent steps/s with one thread and at 63 with two.

    Inside, numbers below 1e-38 count as 0: where a unit is dead, Adam's means shrink to such numbers and stay, and a
    processor is slow at them (a twentieth of the means so small made a step of Adam take twice as long).
    """
    _keep_freed_memory()
    before, flushed = (
        torch.get_num_threads(),
        float(torch.tensor(1e-40, device="cpu") * 1) == 0,
    )  # torch cannot be asked
    torch.set_num_threads(number or max(1, cores() // 2))
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory that tensors gave back for the next ones (up to 512 MiB).

    By itself it returns every block of some megabytes to the system and gets it again page by page: an update of the
    Nature network had 3,500 page faults and took 48 ms instead of 17. Elsewhere (macOS, musl) nothing is done.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, 512 * 2**20)


def bfloat16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: as `precision` says, or, for "auto", where `device` is faster at it.

    Of CPUs these are those with matrix units (AMX), and AMD's with AVX-512. An Intel Xeon that had only AVX-512's
    instructions for it multiplied large matrices half as fast as in float32 (results/atari/speed.md).
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags, amd = _cpu_info("flags").split(), _cpu_info("vendor_id") == "AuthenticAMD"
    return "amx_bf16" in flags or (amd and "avx512_bf16" in flags)


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_available(where: torch.device | None = None) -> int:
    """Bytes free to use: of a GPU's memory if `where` is one, else of the machine's.

    Of that no more than a container or a job is allowed, and all of it where the system does not say.
    """
    if where and where.type == "cuda":
        return torch.cuda.mem_get_info(where)[0]
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, *free, *_allowances())


def _allowances(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Bytes left of each limit that Linux keeps this process to, by control groups of version 2 or 1."""
    for line in groups.read_text(encoding="utf-8").splitlines() if groups.exists() else []:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, most, used, cached = mount, "memory.max", "memory.current", "inactive_file"
        elif controllers == "memory":
            root, most, used = mount / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        inner = root / path.lstrip("/")
        for group in (inner, *inner.parents):  # a group is kept to the limits of those around it too
            limit = (
                (group / most).read_text(encoding="utf-8").strip()
                if group.is_relative_to(root) and (group / most).exists()
                else ""
            )
            if limit.isdigit():  # "max" is none
                stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
                # files that were read count as used, and give way
                yield max(0, int(limit) - int((group / used).read_text(encoding="utf-8")) + int(stat[cached]))


def hardware() -> dict[str, Any]:
    """The machine, for a run's metadata: processor, cores, memory in GiB, GPU, torch threads."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "memory_gib": round(memory, 1),
        "gpu": gpu,
        "torch_threads": torch.get_num_threads(),
    }


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")
