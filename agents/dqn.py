"""The DQN agent (Mnih et al., 2015): Q, the target network Q^ and the gradient step; agents.algorithm has the loop."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from agents.config import DQNConfig
from agents.distributions import distribution
from agents.exploration import epsilon_greedy
from agents.helper import Helper, Shared, breathe
from agents.networks import QNetwork, dormant, sample_noise
from agents.optimizers import QuickAdam, RowsAdam, clip, optimizer
from agents.replay import Batch
from agents.targets import greedy, munchausen_bonus, soft_value
from agents.trunk import Trunk, blocks
from lab import device
from lab.errors import InputError


class Studied(NamedTuple):
    """A minibatch of B transitions, and all that a gradient step on it needs and that does not depend on Q."""

    batch: Batch
    state: torch.Tensor  # as the networks want it
    next_state: torch.Tensor
    following: torch.Tensor  # (B, actions, atoms): what the target network says of next_state
    bonus: torch.Tensor | None  # (B,): Munchausen's, added to the reward
    syncs: int  # copies into the target network until then


class DQN:
    """The action-value network Q, its target Q^, and the step that moves Q towards the targets."""

    def __init__(self, shape: tuple[int, ...], actions: int, config: DQNConfig, where: torch.device):
        """shape: of a state, (stack, *frame); actions: their number. Initialise Q with random weights and Q^ = Q."""
        self.config, self.actions, self.device = config, actions, where
        self.distribution = distribution(config, where)
        torch.manual_seed(config.seed)
        self.q, self.target = (self.network(shape, actions).to(where) for _ in range(2))
        self.bfloat16 = device.bfloat16(config.precision, where)
        if self.bfloat16 and not config.noisy:  # cast once a copy, not once an update; noise would lose its digits
            self.target.trunk.bfloat16()
        self.trunk = self.q.trunk if isinstance(self.q.trunk, Trunk) else None  # Atari's
        self.foreseen: tuple[Batch, Shared[torch.Tensor]] | None = None  # double DQN's values, and of which minibatch
        self.syncs = 0
        self.sync()
        hidden = self.q.trunk[-2].weight  # 95 % of the Nature network's
        others = [weights for weights in self.q.parameters() if weights is not hidden]
        self.optimizers = [optimizer(config, part, where) for part in ([hidden], others)]
        if self.trunk and isinstance(self.optimizers[0], QuickAdam) and not config.noisy:
            self.optimizers[0] = self.trunk.adam = RowsAdam(hidden, config.learning_rate)
        self.random = torch.Generator(where).manual_seed(config.seed)  # of exploration and of noisy layers

    def network(self, shape: tuple[int, ...], actions: int) -> nn.Module:
        """A network for states of `shape`, (stack, *frame): what a class of your own may give instead.

        It takes prepared states (n, stack, *frame) to (n, actions, atoms), and has a `trunk`, an nn.Sequential that
        ends in its largest linear layer and a ReLU.
        """
        config, atoms = self.config, self.distribution.atoms
        return QNetwork(
            shape, actions, network=config.network, atoms=atoms, dueling=config.dueling, noisy=config.noisy
        )  # fmt: skip

    def prepare(self, state: torch.Tensor) -> torch.Tensor:
        """States (n, stack, *frame) as the networks want them: uint8 pixels are taken to [0, 1] (and each state's
        mean taken from them, if the settings say so), others as they are. Atari's, which may also come in tiles, are
        brought into blocks, and but for a mean stay uint8."""
        if state.dtype != torch.uint8:
            return state.float()
        if self.trunk:
            state = blocks(state)
            if not self.config.centred:
                return state
        state = state.to(torch.bfloat16 if self.bfloat16 else torch.float32)
        if self.config.centred:
            state -= state.mean(dim=tuple(range(1, state.ndim)), keepdim=True)
        return state.mul_(1 / 255)

    def output(self, network: nn.Module, prepared: torch.Tensor) -> torch.Tensor:
        """What a network says of prepared states (n, stack, *frame): (n, actions, atoms)."""
        with self._autocast():
            return network(prepared).float()

    def _autocast(self) -> torch.autocast:
        """The networks' arithmetic; weights used twice within are cast once."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def values(self, network: nn.Module, state: torch.Tensor) -> torch.Tensor:
        """Action values (n, actions) of states (n, stack, *frame)."""
        return self.distribution.values(self.output(network, self.prepare(state)))

    @torch.no_grad()
    def dormant(self, state: torch.Tensor) -> list[float]:
        """Share of the units of each hidden layer of Q that are 0 in all states (n, stack, *frame)."""
        prepared = self.prepare(state)
        scale = 1 / 255 if prepared.dtype == torch.uint8 else 1.0
        return dormant(self.q.trunk, prepared.float() * scale)

    @torch.no_grad()
    def act(self, state: np.ndarray, epsilon: float = 0.0, random: torch.Generator | None = None) -> np.ndarray:
        """Actions (n,) in states (n, stack, *frame): random with probability epsilon, else argmax_a Q(phi(s), a)."""
        values = self.values(self.q, torch.as_tensor(state, device=self.device))
        return epsilon_greedy(values.cpu(), epsilon, random).numpy()

    @torch.no_grad()
    def explore(self, state: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
        """As act, while learning and all on the device: an epsilon for each environment, new noise in noisy layers."""
        sample_noise(self.q, self.random)
        return epsilon_greedy(self.values(self.q, state), epsilon, self.random)

    @torch.no_grad()
    def study(self, batch: Batch) -> Studied:
        """All about a minibatch that does not depend on Q."""
        sample_noise(self.target, self.random)
        state, next_state = self.prepare(batch.state), self.prepare(batch.next_state)
        breathe()
        bonus = None
        if self.config.munchausen:
            values = self.distribution.values(self.output(self.target, state))
            bonus = munchausen_bonus(values, batch.action)
        return Studied(batch, state, next_state, self.output(self.target, next_state), bonus, self.syncs)

    def update(self, studied: Studied) -> tuple[torch.Tensor, torch.Tensor]:
        """One gradient step on (y_j - Q(phi_j, a_j))^2 with respect to Q's weights only; the loss, the errors (B,)."""
        batch = studied.batch
        if studied.syncs != self.syncs:  # it was another target network
            studied = self.study(batch)
        if self.foreseen is None or self.foreseen[0] is not batch:
            self.foresee(studied)
        sample_noise(self.q, self.random)
        losses, errors = self._losses(*studied[:-1])
        loss = (batch.weight * losses).mean()
        hidden, others = self.optimizers
        for each in self.optimizers:
            each.zero_grad(set_to_none=True)
        loss.backward()
        if self.trunk:
            self.trunk.finish()
            self.trunk.changed()
        if self.config.max_gradient_norm:
            clip(self.q.parameters(), self.trunk and self.trunk.adam, self.config.max_gradient_norm)
        hidden.step()
        others.step()
        self.foreseen = None
        return loss.detach(), errors

    def share(self, helper: Helper) -> None:
        """Have `helper` do some of a gradient step, also after `update` has returned; see `settle`."""
        assert self.trunk
        self.trunk.helper = helper
        if self.trunk.adam:
            self.trunk.adam.helper = helper

    def foresee(self, studied: Studied) -> None:
        """Share what double DQN will ask Q about a minibatch, before the `update` on it and by the same weights."""
        if self.config.double and self.trunk and self.trunk.helper:
            self.settle()  # or two threads would wait for the same steps
            asked = self.trunk.helper.share(partial(self._online, studied.next_state))
            self.foreseen = studied.batch, asked

    def settle(self) -> None:
        """Have all of Q's weights where the last gradient step moves them."""
        if self.trunk and self.trunk.adam:
            self.trunk.adam.finish()

    def _losses(
        self, batch: Batch, state: torch.Tensor, next_state: torch.Tensor, following: torch.Tensor,
        bonus: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Loss and size of the error of each transition, (B,)."""
        each = torch.arange(len(batch.action), device=self.device)
        values, reward = self.distribution.values, batch.reward
        online = None
        with self._autocast():
            chosen = self.output(self.q, state)[each, batch.action]  # (B, atoms)
            if self.config.double:
                online = self.foreseen[1].finish() if self.foreseen else self._online(next_state)
        with torch.no_grad():
            if bonus is not None:  # Munchausen
                reward = reward + bonus
                following = soft_value(values(following))[:, None]  # (B, 1)
            else:
                following = following[each, greedy(values(following), online)]  # (B, atoms)
        return self.distribution.losses(chosen, following, reward, batch.terminal, batch.discount)

    @torch.no_grad()
    def _online(self, next_state: torch.Tensor) -> torch.Tensor:
        """Q's values (B, actions) of prepared states, by which double DQN chooses actions."""
        return self.distribution.values(self.output(self.q, next_state))

    @property
    def step_size(self) -> float:
        """The optimiser's, now."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    @step_size.setter
    def step_size(self, value: float) -> None:
        for group in self._groups():
            if isinstance(group["lr"], torch.Tensor):  # a part of the CUDA graph
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    def _groups(self) -> list[dict[str, Any]]:
        return [group for each in self.optimizers for group in each.param_groups]

    def sync(self) -> None:
        """Reset Q^ = Q."""
        self.settle()
        self.target.load_state_dict(self.q.state_dict())
        self.syncs += 1

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        hidden, others = self.optimizers
        return {"q": self.q, "target": self.target, "hidden_optimizer": hidden, "optimizer": others}

    def state_dict(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {**parts, "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Before the first gradient step, as a CUDA graph keeps the tensors that it was recorded with.

        Raises InputError for the state of an older version, or of another kind of device.
        """
        if missing := sorted(self._parts().keys() - state.keys()):
            raise InputError(f"the checkpoint is an older version's, without {missing[0]}; give another --name")
        if len(state["random"]) != len(self.random.get_state()):  # Philox on a GPU, Mersenne twister on a CPU
            made, here = ("a GPU", "a CPU") if self.device.type == "cpu" else ("a CPU", "a GPU")
            raise InputError(f"the checkpoint is from {made}, and this is {here}; go on there, or give another --name")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for group in self._groups():
            if isinstance(group["lr"], torch.Tensor):  # torch moves an optimiser's state to its device, not this
                group["lr"] = group["lr"].to(self.device)
        self.random.set_state(state["random"])
