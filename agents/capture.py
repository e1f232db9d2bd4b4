"""CUDA graphs: a function's hundreds of small kernels recorded once, then launched as one."""

import gc
from collections.abc import Callable, Sequence

import torch


class Captured:
    """A function of tensors, run as it is for some calls (they are real ones) and from then on as a CUDA graph.

    The function must have no shape that depends on data, read nothing back to the host, and keep what it works on in
    the same tensors. Its results are overwritten by the next call.
    """

    WARM_UP = 3  # calls in which libraries choose their kernels and the optimiser makes its state

    def __init__(self, function: Callable[..., torch.Tensor], device: torch.device, random: Sequence[torch.Generator]):
        """random: the generators that the function draws from."""
        self.function, self.device, self.random = function, device, random
        self.inputs: tuple[torch.Tensor, ...] = ()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        if not self.calls:
            self.inputs = tuple(torch.empty_like(value, device=self.device) for value in inputs)
            self.stream = torch.cuda.Stream(self.device)
        self.calls += 1
        for kept, value in zip(self.inputs, inputs, strict=True):
            kept.copy_(value)
        if self.calls <= self.WARM_UP:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self.stream):
                output = self.function(*self.inputs)
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
            return output
        if self.graph is None:
            gc.collect()  # an older graph that were to die during the recording would spoil it
            self.graph = torch.cuda.CUDAGraph()
            for generator in self.random:
                self.graph.register_generator_state(generator)
            with torch.cuda.graph(self.graph):  # records, without running
                self.output = self.function(*self.inputs)
        self.graph.replay()
        return self.output
