import numpy as np
import pytest
import torch

from agents.algorithm import Training
from agents.prioritised import PrioritisedReplay, SumTree

from .test_replay import played

CPU = torch.device("cpu")


def test_sum_tree_finds_where_the_running_sum_passes():
    tree = SumTree(5)
    tree.set(torch.tensor([0, 1, 3, 4]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tree.set(torch.tensor([1, 1]), torch.tensor([0.5, 0.5]))
    assert tree.total() == 8.5
    assert tree.find(torch.tensor([0.0, 0.9, 1.0, 1.4, 1.5, 4.4, 4.5, 8.4], dtype=torch.float64)).tolist() == [
        0, 0, 1, 1, 3, 3, 4, 4,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [50, 64, 65, 1000, 10_000])
def test_sum_tree_agrees_with_running_sums(size):
    random = np.random.default_rng(0)
    values = np.zeros(size)
    tree = SumTree(size)
    for _ in range(50):
        leaf, value = random.integers(size, size=40), random.random(40) * (random.random(40) < 0.7)
        leaf, first = np.unique(leaf, return_index=True)
        values[leaf] = value[first]
        tree.set(torch.from_numpy(leaf), torch.from_numpy(value[first]))
    wanted = random.random(5000) * values.sum()
    found = tree.find(torch.from_numpy(wanted)).numpy()
    assert (found == np.searchsorted(values.cumsum(), wanted, side="right")).all()


def test_a_sum_tree_filled_at_once_is_the_same_in_every_bit():
    values = torch.rand(10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = SumTree(20_000), SumTree(20_000)
    for leaf in torch.randperm(10_000, generator=torch.Generator().manual_seed(1)).split(7):
        one.set(leaf, values[leaf])
    other.fill(values)
    assert len(one.levels) == 3 and all(map(torch.equal, one.levels, other.levels))


def test_nothing_empty_is_found_even_beyond_the_total():
    tree = SumTree(8)
    tree.set(torch.tensor([0, 2]), torch.tensor([0.1, 0.2]))
    assert tree.find(torch.tensor([0.3000001, 5.0], dtype=torch.float64)).tolist() == [2, 2]


def test_nothing_empty_is_found_where_a_sum_rounds():
    tree = SumTree(300_000)
    full = torch.arange(70, 290_000, 77)
    tree.set(full, torch.rand(len(full), generator=torch.Generator().manual_seed(0)) ** 20)
    ends = tree[full].cumsum(0)
    near = torch.cat([ends, torch.nextafter(ends, 0 * ends), torch.nextafter(ends, 2 * ends)])
    assert (tree[tree.find(near)] > 0).all()


def prioritised(capacity=10_000, steps=60, alpha=0.6, stack=1, n_step=1):
    class Small(PrioritisedReplay):
        def __init__(self, *args, **options):
            super().__init__(*args, **options, alpha=alpha, beta=0.5, anneal=100, n_step=n_step)

    return played("lab/Catch-v0", steps, capacity, stack=stack, kind=Small)


@pytest.mark.parametrize(("capacity", "stack", "n_step"), [(10_000, 1, 1), (90, 1, 1), (90, 3, 3), (120, 2, 5)])
def test_the_tree_holds_just_what_may_be_sampled(capacity, stack, n_step):
    replay, seen = prioritised(capacity, steps=100, stack=stack, n_step=n_step)
    oldest, end = replay.whole()
    held = np.zeros((replay.rows, 3), bool)
    for step in range(oldest, end):
        held[step % replay.rows] = seen[step][4]
    assert ((replay.tree[: held.size] > 0).numpy() == held.flatten()).all()


def test_surprising_transitions_come_up_in_proportion_and_are_weighed_down():
    replay, _ = prioritised(alpha=0.5)
    held = torch.nonzero(replay.tree[:180] > 0).squeeze(1)
    replay.prioritise(held, torch.zeros(len(held)))
    replay.prioritise(held[:2], torch.tensor([4.0, 1.0]))  # p^alpha: 2, 1, and .001 of all others
    batches = [replay.sample(64) for _ in range(100)]
    share = torch.cat([batch.slot for batch in batches]) == held[0]
    assert share.double().mean().item() == pytest.approx(2 / (3 + 0.001 * (len(held) - 2)), abs=0.01)
    weight = batches[0].weight[batches[0].slot == held[0]] / batches[0].weight[batches[0].slot == held[1]].max()
    assert weight.tolist() == pytest.approx([0.5**0.5] * len(weight))  # (2/3 / 1/3)^-beta
    assert {batch.weight.max().item() for batch in batches} == {1.0}
    assert replay.beta == 1.0


def test_new_transitions_get_the_highest_priority_there_was():
    replay, _ = prioritised(alpha=1.0)
    replay.prioritise(torch.tensor([0]), torch.tensor([7.0]))
    replay.prioritise(torch.tensor([0, 1]), torch.tensor([2.0, 3.0]))  # the highest ever, not of the newest minibatch
    zero = np.zeros(3)
    for _ in range(2):
        replay.add(np.zeros((3, 10, 10)), zero, zero, zero > 0, zero == 0)
    assert replay.tree[replay.row(60)].tolist() == pytest.approx([7.0] * 3)


def test_a_priority_that_comes_after_its_transition_went_revives_nothing():
    replay, _ = prioritised(90, steps=100)
    slot, zero = replay.sample(256).slot, np.zeros(3)
    replay.add(np.zeros((3, 10, 10)), zero, zero, zero > 0, zero == 0)
    gone = torch.arange(len(replay))[replay.row(replay.whole()[0] - 1)]
    assert torch.isin(slot, gone).any()
    replay.prioritise(slot, torch.full((256,), 2.0))
    assert (replay.tree[gone] == 0).all() and (replay.tree[slot[~torch.isin(slot, gone)]] > 1).all()


def test_the_same_draw_again():
    replay, _ = prioritised()
    before = replay.drawing()
    first = replay.sample(8)
    assert replay.beta > before[1]
    replay.draw_again(before)
    assert all(torch.equal(left, right) for left, right in zip(first, replay.sample(8), strict=True))


def test_priorities_are_kept_over_a_resume():
    replay, _ = prioritised(120)
    replay.prioritise(replay.sample(8).slot, torch.arange(8.0))
    other, _ = prioritised(120, steps=5)
    other.load_state_dict(replay.state_dict())
    for left, right in zip(replay.sample(64), other.sample(64), strict=True):
        assert torch.equal(left, right)


def test_training_learns_priorities(small):
    training = Training(small("lab/Catch-v0", priority_alpha=0.5), CPU)
    for _ in training:
        share = min(1.0, training.updates / 175)  # of the (400 - 50) / 2 updates
        assert training.replay.beta.item() == pytest.approx(0.4 + 0.6 * share)
    priorities = training.replay.tree[: len(training.replay)]
    assert len(priorities[priorities > 0].unique()) > 50
    assert training.replay.beta.item() == pytest.approx(1.0)
