"""Where tensors live: what `threads` sets, and sets back."""

import torch

from lab import device


def test_numbers_too_small_to_be_fast_become_nought():
    torch.set_flush_denormal(False)
    tiny = torch.tensor([1e-40])
    assert (tiny * 1).item() > 0
    with device.threads(1):
        assert (tiny * 1).item() == 0


def test_threads_are_set_back():
    before = torch.get_num_threads()
    with device.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
