import io

import pytest
from rich.console import Console

from lab import console


@pytest.mark.parametrize("terminal", [False, True])
def test_in_a_log_a_long_task_says_once_a_minute_where_it_stands(monkeypatch, terminal):
    seen, now = io.StringIO(), [0.0]
    monkeypatch.setattr(console, "messages", Console(file=seen, force_terminal=terminal, highlight=False, width=200))
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.bar("speed [Pong]", 5_000, "runs", start=1_000) as advance:
        for now[0] in (30.0, 61.0, 100.0, 122.0):
            advance(1_000, note=f"at {now[0]:.0f} s")
    lines = [line for line in seen.getvalue().splitlines() if " of 5,000 runs" in line]
    assert lines == ([] if terminal else
        ["speed [Pong]: 3,000 of 5,000 runs  at 61 s", "speed [Pong]: 5,000 of 5,000 runs  at 122 s"])  # fmt: skip
