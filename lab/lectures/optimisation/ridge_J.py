"""The slide's ridge cost has a closed form that descent and scikit-learn reach; the best λ on test data lies inside.

Lecture: L2, 15. Deep Learning
Slide: Overfitting: Regularization
Says: "J(β₀, β₁) = 1/(2m) Σ_(i=1)^m ((β₀ + β₁ x_obs^(i)) − y_obs^(i))² + λ Σ_(j=1)^k β_j²"
Doubt: The sum from j = 1 leaves β₀ free, which is right and is not said. With 1/(2m) before the squares and no 1/2
    before λ, scikit-learn's alpha is 2mλ: who enters λ as alpha shrinks as if λ were 2m times smaller. With one β there
    is little to overfit.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREY, LIGHT_GREY, VERMILION, canvas, label
from lab.stats import band, bootstrap

LAMBDAS = 10.0 ** np.arange(-4, 2.01, 0.25)


@dataclass(frozen=True)
class Settings:
    lam: float = setting(0.5, 0.0, 1000)
    """λ of the slide's line with one β, on ten generated points."""
    steps: int = setting(500, 1, 100_000)
    """Gradient steps on J."""
    seeds: int = setting(40, 4, 400, quick=20)
    """Draws of the training patients; half of them choose λ, the others tell what it brings."""
    train: int = setting(20, 5, 200)
    """Training patients of each draw, of 442 (diabetes, 10 features)."""


def line() -> tuple[np.ndarray, np.ndarray]:
    """Ten points about y = 1 + 2x."""
    random = np.random.default_rng(0)
    x = random.normal(1.0, 1.5, 10)
    return x, 1 + 2 * x + random.normal(size=10)


def closed_form(x: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    """(β0, β1) where dJ is 0: β1 = cov(x, y) / (var(x) + 2λ), β0 = mean(y) - β1 mean(x)."""
    slope = ((x - x.mean()) * (y - y.mean())).mean() / (x.var() + 2 * lam)
    return np.array([y.mean() - slope * x.mean(), slope])


def descend(x: np.ndarray, y: np.ndarray, lam: float, steps: int) -> np.ndarray:
    """(β0, β1) after gradient descent on J from 0."""
    design, penalty = np.column_stack([np.ones_like(x), x]), np.array([0.0, 2 * lam])
    hessian = design.T @ design / len(x) + np.diag(penalty)
    rate = 1 / np.linalg.eigvalsh(hessian)[-1]
    beta = np.zeros(2)
    for _ in range(steps):
        beta = beta - rate * (design.T @ (design @ beta - y) / len(x) + penalty * beta)
    return beta


def test_errors(settings: Settings) -> np.ndarray:
    """Root mean squared error on the patients left out, by draw and λ, (seed, 1 + λ): the first of them at λ = 0."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    x, y = load_diabetes(return_X_y=True)
    errors = []
    for seed in range(settings.seeds):
        order = np.random.default_rng(seed).permutation(len(y))
        fit, rest = order[: settings.train], order[settings.train :]
        mean, scale = x[fit].mean(0), x[fit].std(0) + 1e-12
        a, b = (x[fit] - mean) / scale, (x[rest] - mean) / scale
        nets = [Ridge(alpha=2 * settings.train * lam).fit(a, y[fit]) for lam in (1e-10, *LAMBDAS)]
        errors.append([np.sqrt(((net.predict(b) - y[rest]) ** 2).mean()) for net in nets])
    return np.array(errors)


def measure(settings: Settings) -> Outcome:
    from sklearn.linear_model import Ridge

    x, y = line()
    exact = closed_form(x, y, settings.lam)
    descended = descend(x, y, settings.lam, settings.steps)
    alpha = 2 * len(x) * settings.lam
    known = Ridge(alpha=alpha, tol=1e-12).fit(x[:, None], y)
    wrong = Ridge(alpha=settings.lam).fit(x[:, None], y).coef_[0]

    errors = test_errors(settings)
    choosing, telling = errors[::2], errors[1::2]  # the draws that choose λ do not judge it
    chosen = int(choosing[:, 1:].mean(0).argmin())
    none, most = (telling[:, end] - telling[:, 1 + chosen] for end in (0, -1))
    findings = [
        check("descent on J against cov / (var + 2λ), largest difference", np.abs(descended - exact).max(), "<= 1e-9"),
        doubt(check("scikit-learn's Ridge at alpha = 2mλ against it, largest difference",
                    np.abs([known.intercept_ - exact[0], known.coef_[0] - exact[1]]).max(), "<= 1e-9")),
        check("place of the best λ among those tried", chosen, f"in 1 .. {len(LAMBDAS) - 2}"),
        check("test error at λ = 0 less that at the chosen λ", none.mean(), "> 0", bootstrap(none, np.mean), none),
        check(f"test error at λ = {LAMBDAS[-1]:g} less that at the chosen λ", most.mean(), "> 0",
              bootstrap(most, np.mean), most),
        report("β1", exact[1]),
        report("β1 without a penalty", closed_form(x, y, 0.0)[1]),
        report("β1 by scikit-learn if λ itself is entered as alpha", wrong),
        report("chosen λ", LAMBDAS[chosen]),
        report("test error at the chosen λ", telling[:, 1 + chosen].mean()),
        report("test error at λ = 0", telling[:, 0].mean()),
    ]  # fmt: skip
    budget = (
        f"{settings.steps} gradient steps on 10 points; {settings.seeds} draws of {settings.train} of 442 patients, "
        f"{len(LAMBDAS) + 1} values of λ each"
    )
    return Outcome(findings, picture(errors, chosen, x, y, settings, wrong), budget)


def picture(errors: np.ndarray, chosen: int, x: np.ndarray, y: np.ndarray, settings: Settings, wrong: float):
    """Left: the slope against λ by the formula and as a naive alpha gives it. Right: test error against λ."""
    figure, axes = canvas(1, 2, width=12, height=5.2)
    left, right = axes[0]
    from sklearn.linear_model import Ridge

    slopes = [closed_form(x, y, lam)[1] for lam in LAMBDAS]
    left.plot(LAMBDAS, slopes, color=BLUE, linewidth=3.5, label="cov / (var + 2λ)")
    known = [Ridge(alpha=2 * len(x) * lam).fit(x[:, None], y).coef_[0] for lam in LAMBDAS]
    naive = [Ridge(alpha=lam).fit(x[:, None], y).coef_[0] for lam in LAMBDAS]
    left.plot(LAMBDAS, known, "o", color=BLACK, markersize=6, label="Ridge(alpha = 2mλ)")
    left.plot(LAMBDAS, naive, "--", color=VERMILION, linewidth=3, label="Ridge(alpha = λ)")
    left.set(xscale="log", ylim=(0, None))
    label(left, "The slide's λ is scikit-learn's alpha / 2m", "λ", "slope β1")
    left.legend(fontsize=14)
    low, high = band(errors[:, 1:])
    mean = errors[:, 1:].mean(0)
    right.fill_between(LAMBDAS, low, high, color=BLUE, alpha=0.2, linewidth=0)
    right.plot(LAMBDAS, errors[:, 1:].T, color=LIGHT_GREY, linewidth=0.5, zorder=0)
    right.plot(LAMBDAS, mean, color=BLUE, linewidth=3.5, label=f"mean of {len(errors)} draws (band 95 %)")
    right.axhline(errors[:, 0].mean(), color=GREY, linestyle="--", linewidth=2, label="λ = 0")
    right.plot(LAMBDAS[chosen], mean[chosen], "o", color=VERMILION, markersize=13, label=f"λ = {LAMBDAS[chosen]:.2g}")
    right.set(xscale="log", ylim=(mean.min() * 0.92, min(errors[:, 1].mean() * 1.3, errors.max())))
    inside = 0 < chosen < len(LAMBDAS) - 1
    label(right, "", "λ", "test error, units of disease progression")
    title = "The best λ lies inside" if inside else "The best λ lies at the edge"
    right.set_title(f"{title}: {mean[chosen]:.0f} against {errors[:, 0].mean():.0f} without", loc="left", fontsize=14)
    return figure
