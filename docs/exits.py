"""Makes docs/exits.gif: particles that leave a sharp and a flat well under the same noise. `python docs/exits.py`"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.animation import PillowWriter
from PIL import Image, ImageSequence

from levyjax import plots
from levyjax.basins import Ball
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, predict, simulate_paths
from levyjax.landscapes import Quadratic
from levyjax.noise import Rotational
from levyjax.solvers import Euler

WELLS = {"sharp well": (4.0, 0.7), "flat well": (0.4, 0.7 * 10**0.5)}  # curvature and radius, the same height
DT, STEPS, PARTICLES, FRAMES = 0.05, 550, 160, 110
COLORS = 128


def wells() -> list[plots.Well]:
    found = []
    for title, (curvature, radius) in WELLS.items():
        landscape, basin = Quadratic([curvature] * 2), Ball(radius, [0.0, 0.0])
        problem = EscapeProblem(landscape, basin, Rotational(1.5, [1.0] * 2), SGD(), noise_level=0.14)
        paths = simulate_paths(problem, Plan(Euler(DT), num_trajectories=PARTICLES), STEPS, key=4)
        found.append(plots.Well(title, problem, paths, DT, predict(problem).rate))
    return found


def palette_of(frames: list[Image.Image]) -> Image.Image:
    """Colours that cover those of some frames, the rare ones too."""
    width, height = frames[0].size
    whole = Image.new("RGB", (width, height * len(frames)))
    for k, frame in enumerate(frames):
        whole.paste(frame, (0, k * height))
    return whole.quantize(COLORS, method=Image.Quantize.MAXCOVERAGE)


def main(path: Path) -> None:
    title = "SGD in two wells of the same depth, driven by the same heavy-tailed noise"
    animation = plots.animate_exits(wells(), reach=3.0, title=title, num_frames=FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "exits.png")  # in all its colours: a palette of its own for each frame would flicker
        animation.save(whole, writer=PillowWriter(fps=12), dpi=100)
        with Image.open(whole) as image:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
    plt.close("all")
    palette = palette_of(frames[:: len(frames) // 6])
    small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    held = [80] * (len(small) - 1) + [2500]  # milliseconds; the end stays
    small[0].save(path, save_all=True, append_images=small[1:], duration=held, loop=0, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("exits.gif"))
