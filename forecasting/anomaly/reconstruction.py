"""Detection by reconstruction: an autoencoder and a variational autoencoder, trained on normal windows."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.anomaly.base import ScoreDetector
from forecasting.anomaly.joins import regularised
from lab import device as devices

_BATCH = 128
_DRAWS = 8  # codes of each window that a variational score is averaged over


class Autoencoder(nn.Module):
    """A window (batch, width) through `latent` numbers and back; `variational` makes those a normal distribution."""

    def __init__(self, width: int, latent: int, hidden: int, variational: bool):
        super().__init__()
        self.variational = variational
        codes = 2 * latent if variational else latent
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, codes))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.log_variance = nn.Parameter(torch.zeros(()))  # of the output around the window; variational only

    def code(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, (batch, latent) each."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)

    def loss(self, x: Tensor) -> Tensor:
        """Mean squared error; variational: the negative evidence lower bound a sample (Kingma and Welling 2014)."""
        if not self.variational:
            return ((self.decoder(self.encoder(x)) - x) ** 2).mean()
        mean, log_variance = self.code(x)
        z = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        error = ((self.decoder(z) - x) ** 2).mean() * torch.exp(-self.log_variance)
        return (error + self.log_variance) / 2 + divergence / x.shape[1]

    def errors(self, x: Tensor, draws: int) -> Tensor:
        """Squared error of every value of every window, (batch, width); variational: its mean over `draws` codes."""
        if not self.variational:
            return (self.decoder(self.encoder(x)) - x) ** 2
        mean, log_variance = self.code(x)
        spread = torch.exp(log_variance / 2)
        drawn = [self.decoder(mean + torch.randn_like(mean) * spread) for _ in range(draws)]
        return torch.stack([(one - x) ** 2 for one in drawn]).mean(0)


class AutoencoderDetector(ScoreDetector):
    """Squared error of the reconstruction of each sample by an autoencoder, mean over the windows that hold it.

    Windows of one period, regularised (see joins). Hundreds of updates suffice: the network is small on purpose.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    variational : bool
        Train a variational autoencoder; the error is then averaged over draws of the code (after An and Cho 2015).
    latent : int
        Numbers that a window is squeezed into.
    hidden : int
    updates : int
        Steps of Adam, each on 128 windows.
    random_state : int
    device : "auto", "cpu" or "cuda"

    Attributes
    ----------
    network_ : the fitted Autoencoder; losses_ : (updates,) of the training.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.reconstruction import AutoencoderDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = AutoencoderDetector(updates=200).fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _tags = {"capability:random_state": True, "property:randomness": "derandomized"}  # noqa: RUF012 - sktime's convention

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        variational: bool = False,
        latent: int = 8,
        hidden: int = 128,
        updates: int = 600,
        random_state: int = 0,
        device: str = "auto",
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.variational = variational
        self.latent = latent
        self.hidden = hidden
        self.updates = updates
        self.random_state = random_state
        self.device = device
        super().__init__()

    @devices.threads(1)  # too small a network for two
    def _learn(self, steps: np.ndarray) -> None:
        device = devices.choose(self.device)
        windows = torch.from_numpy(regularised(steps, self.window_))
        generator = torch.Generator().manual_seed(self.random_state)
        with torch.random.fork_rng(devices=[]):  # leave the caller's random state alone
            torch.manual_seed(self.random_state)
            latent = max(1, min(self.latent, self.window_ // 2))
            network = Autoencoder(self.window_, latent, self.hidden, self.variational).to(device)
            optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(2, self.updates))
            self.losses_ = np.empty(self.updates)
            for number in range(self.updates):
                chosen = torch.randint(len(windows), (_BATCH,), generator=generator)
                loss = network.loss(windows[chosen].to(device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                self.losses_[number] = loss.item()
        self.network_ = network.eval()

    @devices.threads(1)
    @torch.no_grad()
    def reconstructions(self, steps: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The windows of standardised `steps` (n,) at `starts` as the network sees them, and what it makes of them.

        Each (windows, width); a variational one decodes the mean of the code.
        """
        windows = regularised(steps, self.window_)[starts]
        device = next(self.network_.parameters()).device
        code = self.network_.encoder(torch.from_numpy(windows).to(device))
        if self.variational:
            code = code.chunk(2, dim=1)[0]
        return windows, self.network_.decoder(code).cpu().numpy()

    @devices.threads(1)
    @torch.no_grad()
    def _score(self, steps: np.ndarray) -> np.ndarray:
        width = self.window_
        stride = max(1, width // 8)
        starts = np.append(
            np.arange(0, len(steps) - width, stride), len(steps) - width
        )  # the last window ends the series
        windows = regularised(steps, width)[starts]
        total, count = np.zeros(len(steps)), np.zeros(len(steps))
        device = next(self.network_.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)  # the same draws whenever the same series is scored
            for rows in np.array_split(np.arange(len(starts)), -(-len(starts) // 4096)):
                errors = self.network_.errors(torch.from_numpy(windows[rows]).to(device), _DRAWS).cpu().numpy()
                places = starts[rows, None] + np.arange(width)
                np.add.at(total, places, errors)
                np.add.at(count, places, 1)
        return total / count

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        tiny = {"hidden": 4, "updates": 2, "device": "cpu"}
        return [
            tiny,
            {**tiny, "period": 6, "quantile": 0.9, "contamination": 0.1, "variational": True, "random_state": 1},
        ]
