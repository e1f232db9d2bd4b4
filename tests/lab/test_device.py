"""Where tensors live: what `threads` sets, and sets back, and where bfloat16 is chosen."""

import numpy as np
import pytest
import torch

from lab import device


def test_numbers_too_small_to_be_fast_are_nought_inside_and_only_there():
    """The switch is the processor's, so a caller's NumPy would feel it."""
    torch.set_flush_denormal(False)  # all tests run inside `threads`
    tiny, tinier = torch.tensor([1e-40]), np.float64(1e-310)
    with device.threads(1):
        assert (tiny * 1).item() == 0
        with device.threads(1):
            pass
        assert (tiny * 1).item() == 0
    assert (tiny * 1).item() > 0 and tinier * 1 > 0


def test_threads_are_set_back():
    before = torch.get_num_threads()
    with device.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "vendor, flags, faster",
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),  # half as fast as float32, measured
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
        ("", "", False),  # a system without /proc/cpuinfo
    ],
)
def test_bfloat16_is_chosen_where_a_processor_is_faster_at_it(monkeypatch, vendor, flags, faster):
    monkeypatch.setattr(device, "_cpu_info", {"vendor_id": vendor, "flags": flags}.get)
    cpu = torch.device("cpu")
    assert device.bfloat16("auto", cpu) == faster
    assert device.bfloat16("bfloat16", cpu) and not device.bfloat16("float32", cpu)


def test_memory_is_what_a_container_leaves(tmp_path):
    """Laid out as the kernel's documents say (cgroup-v1/memory, cgroup-v2)."""

    def group(path, files):
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (path / name).write_text(f"{content}\n")

    mount, groups = tmp_path / "cgroup", tmp_path / "groups"
    group(mount / "job", {"memory.max": 1000, "memory.current": 700, "memory.stat": "anon 500\ninactive_file 150"})
    group(mount / "job" / "step", {"memory.max": "max", "memory.current": 600, "memory.stat": "inactive_file 0"})
    groups.write_text("0::/job/step\n")
    assert list(device._allowances(groups, mount)) == [450]
    old = {"memory.limit_in_bytes": 90, "memory.usage_in_bytes": 95, "memory.stat": "cache 9\ntotal_inactive_file 3"}
    group(mount / "memory", old)
    groups.write_text("9:cpu:/\n4:memory:/docker/abc\n0::/\n")  # whose group is, from within, the root
    assert list(device._allowances(groups, mount)) == [0]
    assert list(device._allowances(tmp_path / "none", mount)) == []
    assert 0 < device.memory_available() <= device.hardware()["memory_gib"] * 2**30 * 1.1
