"""Minibatches made ready by a second thread while the network learns from the one before.

A gradient step needs things that do not depend on Q's last one: the minibatch (priorities follow a vector step later),
and what the target network says of it. On a CPU another core can find them meanwhile, and take in what the emulator
answers. Nothing else changes: minibatches are drawn in the same order from the same memory, so the weights are those of
a single thread, bit for bit.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

import torch

from agents.helper import Helper
from agents.replay import Replay

Ready = TypeVar("Ready")
Seen = TypeVar("Seen")


class _Drawn(NamedTuple, Generic[Ready]):
    ready: Ready
    before: tuple[torch.Tensor, ...]  # the replay's `drawing` before it was drawn


class Ahead(Generic[Ready, Seen]):
    """What a vector step of Algorithm 1 does beside Q's gradient steps: `begin` it, `take` minibatches, `finish`."""

    def __init__(self, sample: Callable[[], Ready], replay: Replay, helper: Helper | None):
        """sample: draws a minibatch from `replay`; helper: the second thread; without one each thing is done only when
        it is asked for."""
        self.sample, self.replay = sample, replay
        self.helper = helper
        self.coming: deque[Future[_Drawn[Ready]]] = deque()

    def begin(self, due: int, observe: Callable[[], Seen], after: Callable[[Seen], int]) -> None:
        """Start on `due` minibatches, if the step before has not, then on `observe`, then on those that the next step
        will want: so many as `after` says of what it saw."""
        self.observe = observe
        if self.helper is None:
            return
        while len(self.coming) < due:
            self.coming.append(self.helper.submit(self._draw))
        self.seen = self.helper.submit(self._see, self.helper, observe, after)

    def _see(self, helper: Helper, observe: Callable[[], Seen], after: Callable[[Seen], int]) -> Seen:
        seen = observe()
        for _ in range(after(seen)):
            self.coming.append(helper.submit(self._draw))
        return seen

    def _draw(self) -> _Drawn[Ready]:
        before = self.replay.drawing()
        return _Drawn(self.sample(), before)

    def take(self) -> Ready:
        """The next minibatch."""
        if self.helper is None:
            return self.sample()
        return self.coming.popleft().result().ready

    def soon(self) -> Ready | None:
        """What `take` will return, if it is there by now."""
        return self.coming[0].result().ready if self.coming and self.coming[0].done() else None

    def finish(self) -> Seen:
        """What `observe` returned."""
        if self.helper is None:
            return self.observe()
        return self.seen.result()

    def alone(self, change: Callable[[], None]) -> None:
        """Change something that the second thread works with, while it does not."""
        if self.helper is None:
            change()
        else:
            self.helper.submit(change).result()

    def drop(self) -> None:
        """Forget the minibatches that were drawn for the next step, as if they had not been drawn."""
        if drawn := [each.result() for each in self.coming]:
            self.coming.clear()
            self.replay.draw_again(drawn[0].before)
