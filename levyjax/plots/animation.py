"""An animation of particles that leave wells: one panel a well, all driven by the same noise."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba

from levyjax.engine import ExitCode
from levyjax.escape import EscapeProblem
from levyjax.escape.paths import ExitPaths
from levyjax.plots.landscapes import heights, outline
from levyjax.plots.style import BLUE, GREY, INK, ORANGE, style

_FADE = 7  # frames in which a chord grows pale
_JUMP = 0.35  # of the distance from the minimum to the boundary: longer steps are shown as chords
_WELL, _OUTER = "#DCEAF5", "#C9CDD2"
_GONE = 0.45  # opacity of particles that have left


class Well(NamedTuple):
    """What is shown in a panel.

    Attributes:
        title: above it.
        problem: whose landscape and basin are drawn; of the plane.
        paths: of the particles.
        step_time: the SDE's time that a step takes.
        rate: exits per unit of that time, drawn as a law; None for none.
    """

    title: str
    problem: EscapeProblem
    paths: ExitPaths
    step_time: float
    rate: float | None = None


class Frame(NamedTuple):
    """The particles at one moment.

    Attributes:
        points: (2, n).
        outside: (n,) whether they have left.
        chords: (m, 2, 2) the ends of the jumps since the frame before, the start first.
        leaving: (m,) whether a jump led out.
    """

    points: Float[np.ndarray, "2 n"]
    outside: Bool[np.ndarray, " n"]
    chords: Float[np.ndarray, "m 2 2"]
    leaving: Bool[np.ndarray, " m"]


def frame_of(well: Well, step: int, before: int) -> Frame:
    """The particles after a number of steps, and their jumps since another."""
    x, ends = well.paths.x, well.paths.exit_step
    moves = np.linalg.norm(np.diff(x[:, :, before : step + 1], axis=2), axis=1)
    left = _left(well)
    particle, place = np.nonzero((moves > _jump_length(well)) | _at(left, ends, before, step))
    chords = np.stack([x[particle, :, before + place], x[particle, :, before + place + 1]], axis=1)
    leaving = left[particle] & (before + place + 1 == ends[particle])
    return Frame(x[:, :, step].T, left & (ends <= step), chords, leaving)


def part_inside(well: Well) -> Float[np.ndarray, " steps"]:
    """The part of the particles that is still in the well after 0, 1, ... steps."""
    steps = np.arange(well.paths.x.shape[2])
    return 1 - np.mean(_left(well)[:, None] & (well.paths.exit_step[:, None] <= steps), axis=0)


def animate_exits(
    wells: Sequence[Well], *, reach: float, title: str = "", num_frames: int = 100, interval: float = 80.0
) -> FuncAnimation:
    """Particles in wells of the plane, side by side, blue while they are in and orange once they are out.

    Jumps are dashed chords that grow pale; below are the parts that are still in, and the exponential laws, dashed.

    Args:
        wells: with paths of equally many steps.
        reach: half the side of the square that is shown about each minimum.
        title: above all.
        num_frames: over all steps of the paths.
        interval: between two frames, in milliseconds.

    Returns:
        The animation, of a new figure; `save` writes it. Close the figure when it is done.

    Raises:
        ValueError: no well, paths of different lengths or not in the plane, or more frames than steps.
    """
    shapes = {well.paths.x.shape[1:] for well in wells}
    (dimension, length), *others = shapes or {(0, 0)}
    if others or dimension != 2 or not 2 <= num_frames <= length:
        raise ValueError(
            f"give wells of the plane with paths of one length, and 2 frames to that many; got shapes {shapes or '()'}"
        )
    stops = np.linspace(0, length - 1, num_frames).round().astype(int)
    with style(figure_figsize=(6.4, 4.8), figure_dpi=100, font_size=9.0):
        figure = plt.figure(facecolor="white")
        figure.suptitle(title, fontsize=10.0)
        grid = figure.add_gridspec(2, len(wells), height_ratios=(3.1, 1.0))
        panels = [_Panel(figure.add_subplot(grid[0, k]), well, reach) for k, well in enumerate(wells)]
        curves = _Curves(figure.add_subplot(grid[1, :]), wells)

    def draw(index: int) -> list[Any]:
        step, before = int(stops[index]), int(stops[max(index - 1, 0)])
        for panel in panels:
            panel.show(step, before)
        curves.show(step)
        return []

    return FuncAnimation(figure, draw, frames=num_frames, init_func=lambda: [], interval=interval, blit=False)


class _Panel:
    """A well with its particles and the chords of the last frames."""

    def __init__(self, axes: Axes, well: Well, reach: float) -> None:
        self.axes, self.well = axes, well
        minimum = np.asarray(well.problem.landscape.minimum, dtype=float)
        line = outline(well.problem.basin, minimum, 10 * reach)
        grid, values = heights(well.problem.landscape, minimum - reach, minimum + reach)
        rim = float(np.asarray(well.problem.landscape.value(jnp.asarray(line[:, :1])))[0])
        axes.contour(*grid, values, levels=np.linspace(0, 3 * rim, 16)[1:], colors=_OUTER, linewidths=0.5)
        axes.fill(*line, facecolor=_WELL, edgecolor=BLUE, linewidth=1.1)
        depths = np.where(values <= rim, values, np.nan)
        axes.contour(*grid, depths, levels=rim * np.array([0.2, 0.4, 0.6, 0.8]), colors="white", linewidths=0.7)
        self.chords: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.gone = axes.scatter([], [], s=7, color=ORANGE, alpha=_GONE, linewidths=0)
        self.lines = LineCollection([], linewidths=1.0, linestyles=[(0, (3, 1.5))])
        axes.add_collection(self.lines)
        self.inside = axes.scatter([], [], s=9, color=BLUE, alpha=0.75, linewidths=0)
        self.count = axes.set_title("", fontsize=9.5, color=INK)
        axes.set(
            xlim=minimum[0] + reach * np.array([-1, 1]), ylim=minimum[1] + reach * np.array([-1, 1]), aspect="equal"
        )
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for side in axes.spines.values():
            side.set_visible(False)

    def show(self, step: int, before: int) -> None:
        frame = frame_of(self.well, step, before)
        younger = [chords for chords in self.chords if chords[0] + 1 < _FADE] if step else []
        self.chords = [(age + 1, chords, leaving) for age, chords, leaving in younger]
        self.chords.append((0, frame.chords, frame.leaving))
        self.lines.set_segments([chord for _, chords, _ in self.chords for chord in chords])
        self.lines.set_color([_faded(out, age) for age, _, leaving in self.chords for out in leaving])
        self.inside.set_offsets(frame.points.T[~frame.outside])
        self.gone.set_offsets(frame.points.T[frame.outside])
        self.count.set_text(f"{self.well.title}: {int(frame.outside.sum())} of {frame.outside.size} have left")


class _Curves:
    """The parts that are still in, as far as time has come, and their laws."""

    def __init__(self, axes: Axes, wells: Sequence[Well]) -> None:
        self.parts = [part_inside(well) for well in wells]
        self.times = [np.arange(part.size) * well.step_time for part, well in zip(self.parts, wells, strict=True)]
        self.lines = [axes.plot([], [], color=BLUE, linewidth=1.6, drawstyle="steps-post")[0] for _ in wells]
        end = float(self.times[0][-1])
        for time, part, well in zip(self.times, self.parts, wells, strict=True):
            if well.rate is not None:
                axes.plot(time, np.exp(-well.rate * time), "--", color=GREY, linewidth=1.0)
            height = part[-1] if well.rate is None else np.exp(-well.rate * end)
            axes.text(1.01 * end, height, well.title, va="center", fontsize="small")
        axes.plot([], [], color=BLUE, linewidth=1.6, label="simulated")
        if any(well.rate is not None for well in wells):
            axes.plot([], [], "--", color=GREY, linewidth=1.0, label="theory")
        axes.set(xlim=(0, end), ylim=(0, 1.03), xlabel="time", ylabel="part still in", yticks=[0, 0.5, 1])
        axes.legend(frameon=False, fontsize="small", loc="lower left", borderpad=0, labelspacing=0.3)

    def show(self, step: int) -> None:
        for line, time, part in zip(self.lines, self.times, self.parts, strict=True):
            line.set_data(time[: step + 1], part[: step + 1])


def _left(well: Well) -> Bool[np.ndarray, " n"]:
    return well.paths.exit_code == ExitCode.EXITED


def _at(left: Bool[np.ndarray, " n"], ends: Int[np.ndarray, " n"], before: int, step: int) -> Bool[np.ndarray, "n m"]:
    """Which steps between two moments led out."""
    return left[:, None] & (ends[:, None] == np.arange(before + 1, step + 1))


def _jump_length(well: Well) -> float:
    minimum = np.asarray(well.problem.landscape.minimum, dtype=float)
    line = outline(well.problem.basin, minimum, 1e6)
    return _JUMP * float(np.linalg.norm(line - minimum[:, None], axis=0).min())


def _faded(leaving: bool, age: int) -> tuple[float, float, float, float]:
    return to_rgba(ORANGE if leaving else BLUE, 0.9 * (1 - age / _FADE))
