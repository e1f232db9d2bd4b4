"""How Q's weights are moved.

`RowsAdam` is for the hidden layer of Atari's networks, 95 % of their weights: a few rows at a time, so that their
gradient is never whole in memory, and shared with another thread.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agents.config import DQNConfig
from agents.helper import Helper, Shared

EPSILON = 1.5e-4  # of Adam: Hessel et al. (2018)
ROWS = 64  # of a matrix, moved at a time: what they need fits a core's cache


def optimizer(config: DQNConfig, parameters: list[nn.Parameter], where: torch.device) -> torch.optim.Optimizer:
    """The one that a config asks for."""
    if config.optimizer == "adam" and where.type == "cpu":
        return QuickAdam(parameters, config.learning_rate)
    capturable = where.type == "cuda"  # its steps can be part of a CUDA graph
    # a CUDA graph sees another step size only in a tensor
    rate: Any = (
        torch.tensor(config.learning_rate, device=where) if capturable and config.anneal else config.learning_rate
    )
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, eps=EPSILON, fused=True, capturable=capturable)
    return NatureRMSProp(parameters, rate, config.batch_size)


def clip(parameters: Iterable[nn.Parameter], rows: "RowsAdam | None", most: float) -> None:
    """Scale gradients down to a norm over them all, as torch's clip_grad_norm_; rows: holds another of them."""
    parameters = list(parameters)
    norm = nn.utils.get_total_norm([weight.grad for weight in parameters if weight.grad is not None])
    if rows:
        norm = torch.hypot(norm, rows.norm())
        rows.scale((most / (norm + 1e-6)).clamp(max=1.0))
    nn.utils.clip_grads_with_norm_(parameters, most, norm)


class NatureRMSProp(torch.optim.Optimizer):
    """The centred RMSProp of Mnih et al. (2015), extended data table 1, for gradients that are a mean over a minibatch.

    Theirs, with epsilon .01 inside the root, is applied to the gradients' sum over it: B times the mean, so that the
    same step divides the mean by sqrt(variance + .01 / B^2).
    """

    DECAY, EPSILON = 0.95, 0.01

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float | Tensor, batch_size: int):
        """batch_size: transitions in a minibatch, B; lr: a tensor where a CUDA graph is to see it change."""
        super().__init__(parameters, {"lr": lr})
        self.epsilon = self.EPSILON / batch_size**2
        for each in parameters:
            self.state[each] = {"grad_avg": torch.zeros_like(each), "square_avg": torch.zeros_like(each)}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for weights in group["params"]:
                if (gradient := weights.grad) is None:
                    continue
                state = self.state[weights]
                mean, square = state["grad_avg"], state["square_avg"]
                mean.lerp_(gradient, 1 - self.DECAY)
                square.mul_(self.DECAY).addcmul_(gradient, gradient, value=1 - self.DECAY)
                root = torch.addcmul(square, mean, mean, value=-1).clamp_(min=0).add_(self.epsilon).sqrt_()
                weights.sub_(torch.div(gradient, root, out=root).mul_(group["lr"]))


class QuickAdam(torch.optim.Adam):
    """torch's fused Adam in float32 on a CPU, without what it does between the numbers."""

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float, eps: float = EPSILON):
        super().__init__(parameters, lr=lr, eps=eps, fused=True)
        for each in parameters:
            moments = {"exp_avg": torch.zeros_like(each), "exp_avg_sq": torch.zeros_like(each)}
            self.state[each] = {"step": torch.zeros(()), **moments}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        (group,) = self.param_groups
        states = [self.state[each] for each in group["params"]]
        steps, means, squares = ([state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq"))
        torch._foreach_add_(steps, 1)
        _adam(group, group["params"], [each.grad for each in group["params"]], means, squares, steps)


class RowsAdam(QuickAdam):
    """Adam for one matrix whose gradient is a product, left^T right; ROWS rows of that at a time are made and used."""

    def __init__(self, matrix: nn.Parameter, lr: float, eps: float = EPSILON):
        super().__init__([matrix], lr=lr, eps=eps)
        self.matrix = matrix
        self.product: tuple[Tensor, Tensor] | None = None  # left (batch, rows), right (batch, columns)
        self.helper: Helper | None = None  # with which steps are shared; see `finish`
        self.shared: list[Shared[None]] = []
        self._copy: tuple[Any, Tensor] | None = None

    def copy(self, kind: torch.dtype) -> Tensor:
        """The matrix in another type, kept up to date."""
        key = kind, self.matrix._version
        if self._copy is None or self._copy[0] != key:
            self.finish()
            self._copy = key, self.matrix.detach().to(kind)
        return self._copy[1]

    def norm(self) -> Tensor:
        """The gradient's: |left^T right|^2 is the sum over left left^T times right right^T, each (batch, batch)."""
        left, right = (each.float() for each in self._taken())
        return ((left @ left.t()) * (right @ right.t())).sum().clamp(min=0).sqrt()

    def scale(self, factor: Tensor) -> None:
        """Multiply the gradient."""
        left, right = self._taken()
        self.product = left * factor.to(left.dtype), right

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.product = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Begin a step, which `finish` ends."""
        left, right = self._taken()
        self.finish()
        state, (group,) = self.state[self.matrix], self.param_groups
        state["step"] += 1
        whole = left.t(), self.matrix.detach(), self.copy(left.dtype), state["exp_avg"], state["exp_avg_sq"]
        for rows in zip(*(each.split(ROWS) for each in whole), strict=True):
            work = partial(_move, dict(group), right, state["step"], *rows)
            if self.helper is None:
                work()
            else:
                self.shared.append(self.helper.share(work))

    def _taken(self) -> tuple[Tensor, Tensor]:
        if self.product is None:
            raise ValueError("there is no gradient yet")
        return self.product

    def finish(self) -> None:
        """Have all steps done."""
        while self.shared:
            self.shared.pop().finish()


@torch.no_grad()
def _move(
    group: dict[str, Any], right: Tensor, step: Tensor, left: Tensor, weight: Tensor, copy: Tensor, mean: Tensor,
    square: Tensor,
) -> None:  # fmt: skip
    """Some rows of RowsAdam's matrix, and of its copy."""
    _adam(group, [weight], [(left @ right).float()], [mean], [square], [step])
    if copy.dtype != weight.dtype:
        copy.copy_(weight)


def _adam(group: dict[str, Any], weights: Any, gradients: Any, means: Any, squares: Any, steps: Any) -> None:
    """Kingma and Ba (2015), Algorithm 1, in place; steps: that are made with this one."""
    beta1, beta2 = group["betas"]
    torch._fused_adam_(
        weights, gradients, means, squares, [], steps, lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=0.0,
        eps=group["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip
