"""Numbers that are finite no more, said in one line: of a training that diverged, or of what an environment gives."""

from collections.abc import Iterable

import torch

from lab.errors import InputError


def finite(weights: Iterable[torch.Tensor]) -> bool:
    """Whether all numbers of all tensors are finite."""
    return all(bool(each.isfinite().all()) for each in weights)


def diverged(step: int, what: str, remedy: str = "") -> InputError:
    """The error for a training in which, at agent step `step`, something is not finite; remedy: one more, if any."""
    return InputError(
        f"agent step {step:,}: {what}, so nothing more can be learned; begin again under another --name with a smaller "
        f"--learning-rate{remedy}"
    )


def gives_none(env: str, what: str) -> InputError:
    """The error for an environment that gives such numbers itself; what: its rewards or observations."""
    return InputError(
        f"environment {env} gives {what} that are not finite (NaN or infinite), of which nothing can be learned; mend "
        "the environment, and begin again under another --name"
    )
