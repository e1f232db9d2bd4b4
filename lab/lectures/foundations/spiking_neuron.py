"""Two model neurons: one pulse gives a whole spike or none, but a steady current shrinks it and inhibition can fire it.

Lecture: L2, 15. Deep Learning
Slide: Biological Neuron
Says: "event-driven threshold-triggering mechanism (when the sum of synaptic inputs reaches a critical value)" "An
    action potential is expressed in an all-or-none manner." "it only depends on whether the threshold of the current
    neuron is triggered"
Doubt: True of the leaky integrate-and-fire neuron by construction. The Hodgkin-Huxley neuron keeps it for single pulses
    alone: under a steady current later spikes are lower, and lower still if the current is doubled; and it has no
    critical value to be reached, for an inhibiting current fires it too, when it ends.
Kind: exact
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, control, report, setting
from lab.plots import BLACK, BLUE, GREY, ORANGE, VERMILION, canvas, label

TAU, R, THETA, REFRACTORY = 10.0, 10.0, 15.0, 2.0
"""Of the integrate-and-fire neuron: ms, MOhm, mV above rest, ms."""
REST = -65.0
"""mV; the Hodgkin-Huxley axon at 6.3 degrees Celsius (J. Physiol. 117, 1952), shifted to it as is usual today."""


@dataclass(frozen=True)
class Settings:
    dt: float = setting(0.01, 0.001, 1.0, quick=0.025)
    """Step of the integration, ms."""
    current: float = setting(10.0, 0.5, 100.0)
    """Steady current into the Hodgkin-Huxley neuron, uA/cm²; it is then doubled."""


def rate(current: np.ndarray) -> np.ndarray:
    """Spikes per second by the formula 1 / (t_ref + tau ln(RI / (RI - theta))); current in nA, 0 below theta / R."""
    drive = R * current
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(drive > THETA, 1000 / (REFRACTORY + TAU * np.log(drive / (drive - THETA))), 0.0)


def integrate_and_fire(current: np.ndarray, dt: float, duration: float = 1000.0) -> np.ndarray:
    """Spikes per second, from the first spike to the last, of one neuron a current (n,), nA; by Euler's rule."""
    v, wait = np.zeros(len(current)), np.zeros(len(current))
    first, last, spikes = np.full(len(current), np.nan), np.zeros(len(current)), np.zeros(len(current))
    for step in range(round(duration / dt)):
        v = np.where(wait > 0, 0.0, v + dt / TAU * (R * current - v))
        wait = wait - dt
        fired = v >= THETA
        first, last = np.where(fired & np.isnan(first), step * dt, first), np.where(fired, step * dt, last)
        spikes, v, wait = spikes + fired, np.where(fired, 0.0, v), np.where(fired, REFRACTORY - dt / 2, wait)
    return np.where(spikes > 1, 1000 * (spikes - 1) / np.maximum(last - first, dt), 0.0)


def hodgkin_huxley(current: Callable[[float], np.ndarray], dt: float, duration: float) -> np.ndarray:
    """Membrane potentials (steps, n), mV, under current(t in ms) -> (n,) in uA/cm²; gates by exponential Euler."""
    v = np.full(len(current(0.0)), REST)
    gates = [opening / (opening + closing) for opening, closing in _rates(v)]
    path = []
    for step in range(round(duration / dt)):
        for gate, (opening, closing) in enumerate(_rates(v)):
            total = opening + closing
            gates[gate] = opening / total + (gates[gate] - opening / total) * np.exp(-dt * total)
        m, h, n = gates
        ionic = 120 * m**3 * h * (v - 50) + 36 * n**4 * (v + 77) + 0.3 * (v + 54.387)
        v = v + dt * (current(step * dt) - ionic)  # 1 uF/cm²
        path.append(v)
    return np.array(path)


def _rates(v: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(opening, closing) per ms of the gates m, h, n."""
    return [
        (0.1 * _linoid(v + 40, 10), 4 * np.exp(-(v + 65) / 18)),
        (0.07 * np.exp(-(v + 65) / 20), 1 / (1 + np.exp(-(v + 35) / 10))),
        (0.01 * _linoid(v + 55, 10), 0.125 * np.exp(-(v + 65) / 80)),
    ]


def _linoid(x: np.ndarray, scale: float) -> np.ndarray:
    """x / (1 - exp(-x / scale)), which is `scale` at 0."""
    x = np.where(np.abs(x) < 1e-7, 1e-7, x)
    return x / -np.expm1(-x / scale)


def peaks(path: np.ndarray) -> np.ndarray:
    """Heights above rest of the maxima above 0 mV, in their order: path (steps,)."""
    middle = path[1:-1]
    return middle[(middle > path[:-2]) & (middle >= path[2:]) & (middle > 0)] - REST


def measure(settings: Settings) -> Outcome:
    dt, low, high = settings.dt, settings.current, 2 * settings.current
    currents = np.array([1.0, 1.4, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0])
    fired, formula = integrate_and_fire(currents, dt), rate(currents)
    above = formula > 0
    error = np.abs(fired[above] / formula[above] - 1).max() * 100

    steady = hodgkin_huxley(lambda t: np.array([low, high]), dt, 150)
    trains = [peaks(path) for path in steady.T]
    first = [float(train[0]) if len(train) else 0.0 for train in trains]
    late = [float(train[-3:].mean()) if len(train) > 3 else 0.0 for train in trains]  # 0: it does not go on firing
    strengths = np.linspace(4, 24, 201)  # of a pulse of 1 ms
    pulsed = hodgkin_huxley(lambda t: strengths * (t < 1), dt, 20)
    heights = pulsed.max(0) - REST
    middling = strengths[(heights > 25) & (heights < 75)]
    # 20 ms of inhibition, then nothing
    released = hodgkin_huxley(lambda t: np.array([-10.0 * (5 <= t < 25)]), dt, 60)[:, 0]
    findings = [
        control(check("integrate-and-fire: largest error of the rate formula, %", error, "< 2")),
        check("integrate-and-fire: spikes per second below theta / R", fired[~above].max(), "== 0"),
        check(f"first spike: change of height from {low:g} to {high:g} uA/cm², %", _change(first), "< 5"),
        check(f"going on: change of spike height from {low:g} to {high:g} uA/cm², %", _change(late), "< 5"),
        check("pulse of 1 ms: change of height from 12 to 24 uA/cm², %",
              _change(np.interp([12, 24], strengths, heights).tolist()), "< 5"),
        check("pulses of 1 ms with a peak 25 to 75 mV above rest, of 201", len(middling), "== 0"),
        check("spikes fired by inhibition alone", len(peaks(released)), "== 0"),
        report(f"height of the first spike at {low:g} uA/cm², mV above rest", first[0]),
        report(f"height of the first spike at {high:g} uA/cm², mV above rest", first[1]),
        report(f"height of later spikes at {low:g} uA/cm², mV above rest", late[0]),
        report(f"height of later spikes at {high:g} uA/cm², mV above rest", late[1]),
    ]  # fmt: skip
    budget = f"8 integrate-and-fire neurons for 1 s, 204 Hodgkin-Huxley neurons for 20 to 150 ms, in steps of {dt:g} ms"
    return Outcome(findings, picture(currents, fired, steady, released, strengths, heights, settings), budget)


def _change(pair: list[float]) -> float:
    """Per cent; infinite if one of the two does not fire."""
    return 100 * abs(pair[1] / pair[0] - 1) if pair[0] > 0 and pair[1] > 0 else np.inf


def picture(currents, fired, steady, released, strengths, heights, settings: Settings):
    """The rate of the simple neuron; the real one's trains, its answer to inhibition, and its peak after a pulse."""
    figure, axes = canvas(2, 2, width=13, height=8)
    dt, low = settings.dt, settings.current
    fine = np.linspace(1, 5, 400)
    simple, train, rebound, graded = axes.flat
    simple.plot(fine, rate(fine), color=GREY, linewidth=3, label="formula")
    simple.plot(currents, fired, "o", color=BLUE, markersize=10, label="integrate-and-fire, simulated")
    label(simple, "The simple neuron obeys its formula", "current, nA", "spikes per second")
    t = np.arange(len(steady)) * dt
    for path, colour, name in zip(steady.T, (BLUE, ORANGE), (f"{low:g}", f"{2 * low:g}"), strict=True):
        train.plot(t, path, color=colour, linewidth=2, label=f"{name} µA/cm²")
    train.set(xlim=(0, 60), ylim=(-85, 80))
    late = [peaks(path)[-3:].mean() if len(peaks(path)) > 3 else 0 for path in steady.T]
    label(train, f"Twice the current: later spikes of {late[1]:.0f}, not {late[0]:.0f} mV", "ms", "membrane, mV")
    t = np.arange(len(released)) * dt
    rebound.axvspan(5, 25, color=GREY, alpha=0.3, linewidth=0, label="inhibited by 10 µA/cm²")
    rebound.plot(t, released, color=VERMILION, linewidth=2.5)
    found = "fires the neuron when it ends" if len(peaks(released)) else "fires nothing"
    label(rebound, f"Inhibition {found}", "ms", "membrane, mV")
    graded.plot(strengths, heights, "o-", color=BLACK, markersize=3.5, linewidth=1.5)
    middling = int(((heights > 25) & (heights < 75)).sum())
    found = "all or none" if not middling else f"{middling} peaks lie between all and none"
    label(graded, f"Single pulses: {found}", "strength of a 1 ms pulse, µA/cm²", "peak, mV above rest")
    answers = {"single pulses": not middling, "a steady current": _change(late) < 5,
               "inhibition": not len(peaks(released))}  # fmt: skip
    parts = (("all or none under ", " and ", True), ("not under ", " or ", False))
    named = [(word, link.join(name for name, is_so in answers.items() if is_so == so)) for word, link, so in parts]
    title = ", ".join(word + names for word, names in named if names).capitalize()
    figure.suptitle(title, fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
