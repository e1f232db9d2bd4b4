"""What makes a counterfactual a good one, each measure a pure function with its formula and source.

Paths are (K, width): K versions of a window of `width` samples. Scales are standard deviations of the training part.
"""

import numpy as np

_OWN = 200  # normal windows whose distance to the others says what is usual
CHANGED = 0.05  # of a standard deviation: the least change that counts as one


def validity(peaks: np.ndarray, threshold: float) -> float:
    """The share of counterfactuals that the detector calls normal: mean of [peak <= threshold].

    Mothilal, Sharma and Tan (2020), DiCE, section 3.4: the share of examples that reach the wanted class.
    """
    return float(np.mean(np.asarray(peaks) <= threshold))


def proximity(paths: np.ndarray, original: np.ndarray, scale: float) -> float:
    """How far the paths (K, width) are from the original (width,): mean |path - original| / scale; smaller is nearer.

    The scaled L1 distance of Wachter, Mittelstadt and Russell (2017), equation 4, a mean over samples and paths;
    `scale` is the spread of the training part (theirs: the median absolute deviation, 0 for a series of spikes).
    """
    return float(np.mean(np.abs(paths - original)) / scale)


def sparsity(paths: np.ndarray, original: np.ndarray, scale: float) -> float:
    """The share of the samples that are as they were, to within CHANGED: mean of [|path - original| <= .05 scale].

    Mothilal, Sharma and Tan (2020), section 3.4: one less the share of changed features.
    """
    return float(np.mean(np.abs(paths - original) <= CHANGED * scale))


def contiguity(paths: np.ndarray, original: np.ndarray, scale: float) -> float:
    """How much of the change is one piece: longest run of changed samples / changed samples, a mean over paths.

    1: one piece, and where nothing changes; near 0: many scattered ones. After Delaney, Greene and Keane (2021), who
    ask for a contiguous change without giving it a formula.
    """
    shares = []
    for changed in np.abs(paths - original) > CHANGED * scale:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], changed, [False]]).astype(int)))
        lengths = edges[1::2] - edges[::2]
        shares.append(lengths.max() / lengths.sum() if len(lengths) else 1.0)
    return float(np.mean(shares))


def diversity(paths: np.ndarray, scale: float) -> float:
    """How far the paths (K, width) are from one another: mean |a - b| / scale over all pairs; 0 for one path.

    Mothilal, Sharma and Tan (2020), section 3.4: the mean distance between pairs.
    """
    if len(paths) < 2:
        return 0.0
    a, b = np.triu_indices(len(paths), 1)
    return float(np.mean(np.abs(paths[a] - paths[b])) / scale)


def plausibility(windows: np.ndarray, normal: np.ndarray) -> float:
    """How far from anything normal: d(window) / median d(normal window); 1 is usual, 2 is twice as far off.

    windows: (K, width), the counterfactuals with some of what lies around; normal: (n,), a stretch of normal data with
    n >= 2 width. d is the Euclidean distance, each window less its mean, to the nearest normal window; for a normal
    window to the nearest that does not overlap it. Delaney, Greene and Keane (2021) and Smyth and Keane (2022) judge
    plausibility by the distance to the nearest known instance.
    """
    width = windows.shape[1]
    references = _centred(np.lib.stride_tricks.sliding_window_view(normal, width))
    own = np.unique(np.linspace(0, len(references) - 1, _OWN).astype(int))
    apart = np.abs(own[:, None] - np.arange(len(references))) >= width
    usual = np.where(apart, _squared(references[own], references), np.inf).min(axis=1)
    usual = np.sqrt(usual[np.isfinite(usual)])
    found = np.sqrt(_squared(_centred(windows), references).min(axis=1)).mean()
    if np.median(usual) == 0:  # what is normal repeats exactly
        return 1.0 if found == 0 else float("inf")
    return float(found / np.median(usual))


def _centred(windows: np.ndarray) -> np.ndarray:
    return windows - windows.mean(axis=1, keepdims=True)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of the rows of a to those of b, (rows of a, rows of b)."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0.0)


def coverage(paths: np.ndarray, truth: np.ndarray, level: float = 0.8) -> float:
    """The share of true samples (width,) within the central `level` band of the paths (K, width); ideally `level`."""
    low, high = np.quantile(paths, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return float(np.mean((truth >= low) & (truth <= high)))


def edge_jump(whole: np.ndarray, start: int, end: int, normal: np.ndarray) -> float:
    """The larger of the two jumps where a counterfactual begins and ends / the largest jump in normal data.

    whole: (K, n), the series with each path in place; normal: (m,), normal data. A mean over the paths; up to 1 the
    joins are such as occur. An edge at an end of the series has no jump.
    """
    usual = np.abs(np.diff(normal)).max()
    edges = [edge for edge in (start, end) if 0 < edge < whole.shape[1]]
    jumps = [np.abs(whole[:, edge] - whole[:, edge - 1]) for edge in edges]
    jump = float(np.max(jumps, axis=0).mean()) if jumps else 0.0
    return jump / usual if usual > 0 else 0.0 if jump == 0 else float("inf")


def rmse(path: np.ndarray, truth: np.ndarray) -> float:
    """Root mean squared error, in the series' unit."""
    return float(np.sqrt(np.mean((np.asarray(path) - truth) ** 2)))
