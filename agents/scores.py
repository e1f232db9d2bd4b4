"""Human and random raw scores of eleven games, to normalise an agent's by (DM-57 table: Wang et al., 2016)."""

# game: (random, human)
DM57 = {
    "BeamRider": (363.9, 16926.5), "Boxing": (0.1, 12.1), "Breakout": (1.7, 30.5), "Enduro": (0.0, 860.5),
    "Freeway": (0.0, 29.6), "MontezumaRevenge": (0.0, 4753.3), "MsPacman": (307.3, 6951.6), "Pong": (-20.7, 14.6),
    "Qbert": (163.9, 13455.0), "Seaquest": (68.4, 42054.7), "SpaceInvaders": (148.0, 1668.7),
}  # fmt: skip


def of_game(env_id: str) -> tuple[float, float] | None:
    """(random, human) score of an environment such as ALE/Pong-v5, or None where it is not known here."""
    return DM57.get(env_id.rpartition("ALE/")[2].split("-")[0]) if "ALE/" in env_id else None
