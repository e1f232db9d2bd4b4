"""The tour that `make demo` runs: every bench at work on real ROMs and series, and one page of what came out."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agents.config import preset
from lab import device, report
from lab.console import messages
from lab.run import Run

EXPERIMENTS = ("node-minus-23", "power-1000", "perceptron-xor", "sin-x-four-nets", "traffic-500-plus-x1")
TOO_SHORT = (
    "Too short to mean anything: {steps:,} agent steps are 0.02 % of the 50 million that the published score took. "
    "This shows that the real game is played and learned from, and how fast: {rate:.0f} agent steps a second."
)


def tour(root: Path) -> Path:
    """Run every part under `root`, whose earlier content is replaced; returns the page about them."""
    if root.exists():
        shutil.rmtree(root)
    parts: dict[str, Callable[[Path], str]] = {
        "Pong: DQN on the real Atari ROM": pong,
        "Catch: DQN learns a game of pixels": catch,
        "Web traffic: CNN, LSTM and Transformer against simple models": lambda path: forecast(path, "web-traffic", 24),
        "Airline passengers: the same on 144 months": lambda path: forecast(path, "airline", 12),
        "ECG: an anomaly found, and what would have been normal": anomaly,
        "Lectures: five claims tested": lectures,
    }
    began = time.monotonic()
    for number, (title, part) in enumerate(parts.items(), start=1):
        messages.rule(f"[bold]{number}/{len(parts)}  {title}", align="left")
        started = time.monotonic()
        said = part(root)
        messages.print(f"{said}  ({time.monotonic() - started:.0f} s)\n")
    page = report.write(root, "The lab in one tour")
    messages.print(f"The tour took {time.monotonic() - began:.0f} s.")
    messages.print(f"Curves, figures and films: tensorboard --logdir {root}")
    return page


def pong(root: Path) -> str:
    from agents.dqn import METRICS, train
    from agents.evaluate import film, load

    config = replace(
        preset("ALE/Pong-v5"), total_steps=10_000, learning_starts=2_000, replay_capacity=10_000, epsilon_steps=8_000,
        target_every=500, eval_episodes=2, log_every=250,
    )  # fmt: skip
    with Run.open(root, "pong", config, metrics=METRICS) as run:
        metrics = _trained(train(config, run))
        frames, _ = film(*load(run.path))
        run.video("eval/episode", frames[:600])
        note = TOO_SHORT.format(steps=config.total_steps, rate=metrics["time/steps_per_second"])
        run.text("note", note)
        run.text("command", "lab train dqn --env ALE/Pong-v5 --total-steps 10000 --learning-starts 2000")
    return f"Return {metrics['eval/return_mean']:.1f}. {note}"


def catch(root: Path) -> str:
    from agents.dqn import METRICS, train
    from agents.evaluate import film, load

    config = replace(preset("lab/Catch-v0"), total_steps=12_000)
    with device.threads(config.threads), Run.open(root, "catch", config, metrics=METRICS) as run:
        metrics = _trained(train(config, run))
        frames, _ = film(*load(run.path))
        run.video("eval/episode", frames, fps=4)
        run.text("command", "lab train dqn --env lab/Catch-v0 --total-steps 12000")
    return f"Return {metrics['eval/return_mean']:.2f} over 100 episodes (1 is perfect, random play gets about -0.6)."


def _trained(metrics: dict[str, float] | None) -> dict[str, float]:
    if metrics is None:  # Ctrl-C
        raise KeyboardInterrupt
    return metrics


def forecast(root: Path, series: str, horizon: int) -> str:
    from forecasting import datasets
    from forecasting.benchmark import compare

    with (
        device.threads(1),
        Run.open(root, f"forecast-{series}", {"series": series, "horizon": horizon, "seed": 0}) as run,
    ):
        table = compare(datasets.load(series), horizon, run)
        run.text("command", f"lab forecast {series} --horizon {horizon}")
        scores = dict(zip(table["model"], table["MASE"], strict=True))
        run.finish({f"forecast/{model}/MASE": score for model, score in scores.items()})
    return "MASE " + ", ".join(f"{model} {score:.2f}" for model, score in scores.items())


def anomaly(root: Path) -> str:
    from forecasting.anomaly import bench, datasets
    from forecasting.anomaly.commands import METRICS
    from forecasting.anomaly.detectors import MaskedDetector

    case = datasets.load("mitdb")
    with Run.open(root, "explain-mitdb", {"series": "mitdb", "samples": 20, "seed": 0}, metrics=METRICS) as run:
        found = bench.detect(case, run, MaskedDetector(progress=True))
        bench.explain(case, run, found)
        run.text("command", "lab explain mitdb")
        run.finish(found.metrics)
    start, end = found.intervals[0]
    hit = "overlaps" if found.metrics["anomaly/hit"] else "does not overlap"
    return (
        f"The strongest anomaly, samples {start} to {end}, {hit} the cardiologist's label; "
        f"{found.metrics['anomaly/validity']:.0%} of 20 counterfactuals score as normal."
    )


def lectures(root: Path) -> str:
    from lab.console import bar
    from lab.lectures import reproduce_each

    verdicts = []
    with bar("lab reproduce", len(EXPERIMENTS), "experiments") as advance:
        for result in reproduce_each(EXPERIMENTS, runs=root):
            if result.error:
                raise RuntimeError(f"{result.claim.id} broke down: {result.error}")
            verdicts.append(f"{result.claim.id} {result.verdict}")
            advance(1, result.claim.id)
    return ", ".join(verdicts)
