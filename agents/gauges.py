"""The film of a game beside what the agent thinks of it: a bar for each action's Q, and V(s) as it runs.

Drawn with Pillow on one canvas, where only what changes is drawn anew: about 2 ms a frame, a hundredth of what a
matplotlib figure takes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lab.plots import BLACK, BLUE, DARK_GREY, GREEN, GREY, LIGHT_GREY, ORANGE, VERMILION
from lab.plots_agents import number, too_many

WIDTH, HEIGHT = 640, 360
LEFT = 300  # the picture's part
EDGE = 12
CURVE = (LEFT + EDGE + 44, 268, WIDTH - EDGE, HEIGHT - EDGE)  # left, top, right, bottom of the running value
BARS_TOP, BARS_BOTTOM = 60, 232
WHITE = "#FFFFFF"


def frames(
    pictures: np.ndarray, q: np.ndarray, action: np.ndarray, reward: np.ndarray, names: Sequence[str]
) -> Iterator[np.ndarray]:
    """One frame (HEIGHT, WIDTH, 3) uint8 for each step of play.

    pictures (n, height, width, 3) uint8; q (n, actions); action (n,), -1 at the last state of an episode, which has no
    values; reward (n,) that followed; names of the actions. The scales are those of the whole film.
    """
    taken = action >= 0
    value = q.max(axis=1)
    low, high = min(0.0, float(q[taken].min())), max(0.0, float(q[taken].max()))
    bars = _Bars(names, low, high)
    x, y = _curve(value, taken)
    canvas = Image.new("RGB", (WIDTH, HEIGHT), WHITE)
    draw = ImageDraw.Draw(canvas)
    bars.label(draw)
    _label_curve(draw, value[taken])
    for start in np.flatnonzero(taken[:-1] & taken[1:]):
        draw.line([x[start], y[start], x[start + 1], y[start + 1]], LIGHT_GREY, 1)
    crowded, total, step = too_many(reward), 0.0, 0
    for t, picture in enumerate(pictures):
        if t and not taken[t - 1]:
            total = 0.0  # a new episode
        elif t:
            step += 1
            total += float(reward[t - 1])
            if reward[t - 1] and not crowded:
                _mark(draw, x[t], reward[t - 1] > 0)
            if taken[t]:
                draw.line([x[t - 1], y[t - 1], x[t], y[t]], BLUE, 2)
        frame = canvas.copy()
        shown = _fitted(picture)
        frame.paste(shown, ((LEFT - shown.width) // 2, (HEIGHT - shown.height) // 2))
        pen = ImageDraw.Draw(frame)
        head = f"step {step:,}    return {total:g}    "
        head += f"V {number(value[t], np.ptp(value[taken]))}" if taken[t] else "over"
        pen.text((LEFT + EDGE, 14), head, BLACK, _font(16), anchor="lt")
        if taken[t]:
            bars.draw(pen, q[t], int(action[t]))
            pen.ellipse([x[t] - 4, y[t] - 4, x[t] + 4, y[t] + 4], fill=BLUE)
        yield np.asarray(frame)


class _Bars:
    """A horizontal bar from zero for each action; low <= 0 <= high."""

    def __init__(self, names: Sequence[str], low: float, high: float):
        self.names = names
        self.pitch = min(34.0, (BARS_BOTTOM - BARS_TOP) / len(names))
        self.font = _font(int(min(15, self.pitch + 1)))
        name_width = max(self.font.getlength(name) for name in names)
        number_width = max(self.font.getlength(number(value, high - low)) for value in (low, high))
        self.start, self.end = LEFT + EDGE + name_width + 8, WIDTH - EDGE - number_width - 8
        self.low, self.high = low, max(high, low + 1e-6)

    def _middle(self, row: int) -> float:
        return BARS_TOP + (row + 0.5) * self.pitch

    def _x(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, draw: ImageDraw.ImageDraw) -> None:
        draw.text((LEFT + EDGE, BARS_TOP - 6), "Q(s, a), orange: the action taken", DARK_GREY, _font(13), anchor="ls")
        for row, name in enumerate(self.names):
            draw.text((self.start - 8, self._middle(row)), name, BLACK, self.font, anchor="rm")

    def draw(self, pen: ImageDraw.ImageDraw, q: np.ndarray, chosen: int) -> None:
        base = self._x(0.0)
        for row, value in enumerate(q):
            middle, tip = self._middle(row), self._x(float(value))
            half = 0.36 * self.pitch
            colour = ORANGE if row == chosen else GREY
            pen.rectangle([min(base, tip), middle - half, max(base, tip), middle + half], fill=colour)
            pen.text((WIDTH - EDGE, middle), number(value, self.high - self.low), BLACK, self.font, anchor="rm")
        pen.line([base, BARS_TOP, base, self._middle(len(q) - 1) + 0.5 * self.pitch], DARK_GREY, 1)


def _curve(value: np.ndarray, taken: np.ndarray) -> tuple[list[float], list[float]]:
    """Pixel positions of the running value: time across, value upwards."""
    left, top, right, bottom = CURVE
    low, high = value[taken].min(), value[taken].max()
    x = left + np.arange(len(value)) / max(1, len(value) - 1) * (right - left)
    y = bottom - 10 - (value - low) / max(high - low, 1e-6) * (bottom - top - 20)
    return x.tolist(), y.tolist()


def _label_curve(draw: ImageDraw.ImageDraw, value: np.ndarray) -> None:
    left, top, _, bottom = CURVE
    draw.text((LEFT + EDGE, top - 8), "V(s) = max Q(s, a)", DARK_GREY, _font(13), anchor="ls")
    for y, extreme in ((top + 10, value.max()), (bottom - 10, value.min())):
        draw.text((left - 8, y), number(extreme, np.ptp(value)), DARK_GREY, _font(12), anchor="rm")


def _mark(draw: ImageDraw.ImageDraw, x: float, won: bool) -> None:
    """A tick where a reward came: at the top if it was one, at the bottom if it was a loss."""
    _, top, _, bottom = CURVE
    ends = (top - 4, top + 4) if won else (bottom - 4, bottom + 4)
    draw.line([x, ends[0], x, ends[1]], GREEN if won else VERMILION, 3)


def _fitted(picture: np.ndarray) -> Image.Image:
    """A picture as large as its part allows; one of few pixels keeps their edges."""
    height, width = picture.shape[:2]
    scale = min((LEFT - 2 * EDGE) / width, (HEIGHT - 2 * EDGE) / height)
    how = Image.Resampling.NEAREST if max(height, width) < 100 else Image.Resampling.BILINEAR
    return Image.fromarray(picture).resize((round(width * scale), round(height * scale)), how)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
