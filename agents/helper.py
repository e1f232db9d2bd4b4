"""A second thread for what a gradient step need not do itself, so that two cores have the same work."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Found = TypeVar("Found")
_here = threading.local()


class Helper:
    """Does what it is asked to, one thing after the other (`submit`), and what is `share`d as soon as it can."""

    def __init__(self) -> None:
        self.shared: deque[Shared[Any]] = deque()
        self.called = False  # to look at what is shared, once it has done what it was asked to before
        threads = torch.get_num_threads()

        def begin(shared: "deque[Shared[Any]]") -> None:
            _here.shared = shared
            torch.set_num_threads(threads)  # each thread counts its own

        self.pool = ThreadPoolExecutor(1, "helper", begin, (self.shared,))

    def submit(self, work: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs) -> Future[Found]:
        def then() -> Found:
            breathe()
            return work(*args, **kwargs)

        return self.pool.submit(then)

    def share(self, work: Callable[[], Found]) -> "Shared[Found]":
        """Have something done by whoever comes first: this thread, between two things or where one of them says
        `breathe`, or the one who needs it and says `finish`."""
        shared = Shared(self.shared, work)
        self.shared.append(shared)
        if not self.called:
            self.called = True
            self.pool.submit(self._look)
        return shared

    def _look(self) -> None:
        self.called = False
        breathe()


def breathe() -> None:
    """In a helper's thread: do what is shared, now. Long work says this here and there. Elsewhere nothing happens."""
    shared: deque[Shared[Any]] = getattr(_here, "shared", deque())
    while shared:
        try:
            first = shared.popleft()
        except IndexError:  # somebody else was quicker
            return
        first.do()


class Shared(Generic[Found]):
    """Something that a Helper or another does, but only one of them."""

    def __init__(self, line: "deque[Shared[Any]]", work: Callable[[], Found]):
        self.line, self.work, self.done = line, work, Future[Found]()

    def do(self) -> None:
        try:
            self.done.set_result(self.work())
        except BaseException as error:
            self.done.set_exception(error)

    def finish(self) -> Found:
        """What came of it, once it is done by oneself or another. Raises what it raised."""
        try:
            self.line.remove(self)
        except ValueError:  # someone has begun
            pass
        else:
            self.do()
        return self.done.result()
