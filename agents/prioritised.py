"""Prioritised experience replay: what surprised the network is replayed more often."""

from typing import Any

import torch

from agents.replay import Replay


class SumTree:
    """n numbers, of which `find` finds where a running sum passes a value.

    A node sums up 64 numbers and not two, so that a million have four levels and not twenty: each level takes a few
    operations on small arrays, and it is their number that costs.
    """

    WIDTH = 64

    def __init__(self, n: int, device: torch.device | str = "cpu"):
        self.levels: list[torch.Tensor] = []  # the numbers first, the root last, each (nodes, WIDTH); the rest is 0
        while not self.levels or n > 1:
            n = -(-n // self.WIDTH)
            self.levels.append(torch.zeros(n, self.WIDTH, dtype=torch.float64, device=device))

    def __getitem__(self, leaf: torch.Tensor | slice) -> torch.Tensor:
        return self.levels[0].view(-1)[leaf]

    def total(self) -> torch.Tensor:
        return self.levels[-1].sum()

    def set(self, leaf: torch.Tensor, value: torch.Tensor | float) -> None:
        """Set leaves (B,) to values (B,), and every sum above them."""
        value = torch.as_tensor(value, dtype=torch.float64, device=leaf.device)
        for level in self.levels:
            level.view(-1)[leaf] = value
            leaf = leaf // self.WIDTH
            value = level[leaf].sum(dim=1)

    def fill(self, values: torch.Tensor) -> None:
        """Set the first leaves to the values (B,): as `set`, for many."""
        for level in self.levels:
            level.view(-1)[: len(values)] = values
            values = level.sum(dim=1)

    def find(self, value: torch.Tensor) -> torch.Tensor:
        """The leaves (B,) at which the sum of all leaves up to them passes the values (B,), each below the total."""
        node = torch.zeros_like(value, dtype=torch.int64)
        for level in reversed(self.levels):
            numbers = level[node]  # (B, WIDTH)
            sums = numbers.cumsum(dim=1)
            # Rounding may leave more of the value than there is: below the sum it finds a number, and no 0.
            value = torch.minimum(value, torch.nextafter(sums[:, -1], torch.zeros_like(value)))
            child = (sums <= value[:, None]).sum(dim=1)
            value = (value - (sums - numbers).gather(1, child[:, None]).squeeze(1)).clamp(min=0)
            node = node * self.WIDTH + child
        return node


class PrioritisedReplay(Replay):
    """Proportional prioritisation (Schaul et al., 2016, ICLR): P(j) = p_j^alpha / sum_k p_k^alpha, p = |error| + e.

    A new transition gets the highest priority there was. The tree holds just what may be sampled: a slot's priority is
    0 until its n steps have come, where it only reset, and from when the first frame of its state is overwritten.
    """

    SMALLEST = 1e-6  # e: no transition is forgotten

    def __init__(self, *args: Any, alpha: float, beta: float, anneal: int, **options: Any):
        """alpha: how much priorities count (0 not at all); beta: of the importance weights (N P(j))^-beta, which rises
        from this to 1 over `anneal` draws; the others as in Replay.
        """
        super().__init__(*args, **options)
        self.alpha = alpha
        self.tree = SumTree(len(self.live), self.device)
        self.highest = torch.ones((), dtype=torch.float64, device=self.device)  # of p^alpha
        self.beta = torch.tensor(beta, dtype=torch.float64, device=self.device)
        self._beta_step = (1 - beta) / anneal
        self._columns = torch.arange(self.num_envs, device=self.device)

    def add(self, frame, action, reward, terminal, live) -> None:
        super().add(frame, action, reward, terminal, live)
        oldest, end = self.whole()
        if end > 0:
            row = self.row(end - 1)
            self.tree.set(row.start + self._columns, torch.where(self.live[row], self.highest, 0.0))
        if oldest > 0:
            self.tree.set(self.row(oldest - 1).start + self._columns, 0.0)

    def _draw(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One slot out of each of `batch_size` equal parts of the sum, with its importance weight, at most 1."""
        uniform = torch.rand(batch_size, generator=self.random, dtype=torch.float64, device=self.device)
        parts = (torch.arange(batch_size, device=self.device) + uniform) / batch_size
        slot = self.tree.find(parts * self.tree.total())
        weight = self.tree[slot] ** -self.beta  # N and the sum cancel against those of the largest
        self.beta.add_(self._beta_step).clamp_(max=1.0)
        return slot, (weight / weight.max()).float()

    def drawing(self) -> tuple[torch.Tensor, ...]:
        return (*super().drawing(), self.beta.clone())

    def draw_again(self, drawing: tuple[torch.Tensor, ...]) -> None:
        super().draw_again(drawing)
        self.beta.copy_(drawing[1])

    def prioritise(self, slot: torch.Tensor, error: torch.Tensor) -> None:
        """Give the slots (B,) the priorities of their errors (B,) >= 0; those that hold no transition by now keep 0."""
        priority = (error.double() + self.SMALLEST) ** self.alpha
        self.highest.copy_(torch.maximum(self.highest, priority.max()))
        self.tree.set(slot, torch.where(self.tree[slot] > 0, priority, 0.0))

    def state_dict(self) -> dict[str, Any]:
        mine = {"priorities": self.tree[: len(self)], "highest": self.highest, "beta": self.beta}
        return {**super().state_dict(), **mine}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.tree.fill(state["priorities"].to(self.device))
        self.highest.copy_(state["highest"])
        self.beta.copy_(state["beta"])
