import os
import threading
from pathlib import Path

import pytest
import torch

from agents.helper import Helper, breathe


@pytest.fixture
def busy():
    """A helper that does nothing else before the event is set."""
    helper, event = Helper(), threading.Event()
    started = threading.Event()
    helper.submit(lambda: (started.set(), event.wait(10)))
    started.wait(10)
    yield helper, event
    event.set()


def here(seen):
    return lambda: seen.append(threading.current_thread().name)


def test_it_does_one_thing_after_the_other():
    helper, seen = Helper(), []
    done = [helper.submit(lambda i=i: (seen.append(i), i)[1]) for i in range(20)]
    assert [each.result(10) for each in done] == seen == list(range(20))


def test_what_is_shared_is_done_by_the_one_who_needs_it_first(busy):
    helper, event = busy
    mine, theirs = [], []
    shared = [helper.share(here(mine)) for _ in range(3)]
    for each in shared:
        each.finish()
        each.finish()  # a second time it is done already
    assert mine == [threading.current_thread().name] * 3
    shared = [helper.share(here(theirs)) for _ in range(3)]
    event.set()
    helper.submit(lambda: None).result(10)
    for each in shared:
        each.finish()
    assert len(theirs) == 3 and len(mine) == 3
    assert all(name.startswith("helper") for name in theirs)


def test_what_is_shared_goes_before_what_waits_in_line(busy):
    helper, event = busy
    seen = []
    later = helper.submit(lambda: seen.append("later"))
    helper.share(lambda: seen.append("shared"))
    event.set()
    later.result(10)
    assert seen == ["shared", "later"]


def test_long_work_lets_it_through_where_it_breathes():
    helper, seen, shared = Helper(), [], []
    ready = threading.Event()

    def long():
        ready.wait(10)
        seen.append("begun")
        breathe()
        seen.append("ended")

    done = helper.submit(long)
    shared.append(helper.share(lambda: seen.append("shared")))
    ready.set()
    done.result(10)
    assert seen == ["begun", "shared", "ended"]
    helper.share(here(seen))
    breathe()  # nothing, in a thread that is no helper
    helper.submit(lambda: None).result(10)
    assert seen[3].startswith("helper")


def test_an_idle_helper_comes_by_itself():
    helper, done = Helper(), threading.Event()
    for _ in range(3):
        helper.submit(lambda: None).result(10)
        done.clear()
        helper.share(done.set)
        assert done.wait(10)


@pytest.mark.parametrize("by_helper", [False, True])
def test_what_fails_is_raised_where_it_is_needed(busy, by_helper):
    helper, event = busy

    def broken():
        raise ValueError("broken")

    shared = helper.share(broken)
    if by_helper:
        event.set()
        helper.submit(lambda: None).result(10)
    with pytest.raises(ValueError, match="broken"):
        shared.finish()
    event.set()
    assert helper.submit(lambda: 3).result(10) == 3  # and the helper goes on


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux lists them")
def test_it_has_the_threads_of_the_one_who_made_it():
    """oneDNN, which asks nobody, would begin with one a core."""
    before, x = torch.get_num_threads(), torch.randn(512, 512).bfloat16()

    def begun():
        there = len(os.listdir("/proc/self/task"))
        torch.mm(x, x)
        return len(os.listdir("/proc/self/task")) - there

    torch.set_num_threads(1)
    try:
        assert Helper().submit(begun).result(10) == 0
    finally:
        torch.set_num_threads(before)
