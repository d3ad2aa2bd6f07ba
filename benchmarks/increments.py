"""Increments a second: levyjax and its rivals on trajectories of SGD, the noise too weak to exit.

There are 4096 of them, 2^20 on an accelerator.
The first case is the common ground of all rivals; the others change the dtype, the noise or the gradient. Two columns
tell whether the numbers are right: the last points against their exact law (`law_error`, in standard deviations), and
the draws beyond a far level over their expected number (`far_tail`).
"""

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np

from levyjax import stable

from .common import interleaved, law_error, on_accelerator
from .rivals import Run, Unavailable, Work, rivals

CASES: dict[str, dict[str, str]] = {
    "float32": {},
    "float64": {"dtype": "float64"},
    "rotational": {"noise": "rotational"},
    "gaussian": {"noise": "gaussian"},
    "matrix Hessian": {"gradient": "matrix"},
    "user function": {"gradient": "function"},
}


def run(quick: bool) -> dict[str, Any]:
    """Every case by every rival that can run it."""
    work = Work(lanes=1 << 20, steps=128) if on_accelerator() else Work(steps=128 if quick else 1024)
    rows = []
    for case, changes in CASES.items():
        rows += compare(case, dataclasses.replace(work, **changes), 3 if quick or on_accelerator() else 9)
    tails = {module.NAME: far_tail(module, quick) for module in rivals()}
    for row in rows:
        row["far_tail"] = tails[row["name"]] if row["case"] == "float32" else None
    return {"rows": rows, "work": dataclasses.asdict(work), "quick": quick}


def compare(case: str, work: Work, repeats: int) -> list[dict[str, Any]]:
    """One case: a row for each rival, with its rate or with the reason why it has none."""
    rows, runs, works = [], {}, {}
    for module in rivals():
        share = dataclasses.replace(work, steps=max(round(work.steps * module.SHARE), 4))
        row = {"case": case, "name": module.NAME, "dtype": work.dtype, "noise": work.noise, "gradient": work.gradient}
        rows.append({**row, "unavailable": None})
        try:
            runs[module.NAME], works[module.NAME] = module.increments(share), share
        except Unavailable as reason:
            rows[-1]["unavailable"] = str(reason)
    seconds = interleaved(runs, repeats)
    costs = {name: np.array(times) / works[name].increments for name, times in seconds.items()}
    for row in rows:
        name = row["name"]
        if name in runs:
            row |= measured(works[name], runs[name], seconds[name])
            row["levyjax_over_this"] = float(np.median(costs[name] / costs["levyjax"]))
    return rows


def measured(work: Work, run: Run, seconds: list[float]) -> dict[str, Any]:
    """The columns of a rival that has run."""
    return {
        "increments_per_second": work.increments / min(seconds),
        "trajectory_steps_per_second": work.increments / work.dimension / min(seconds),
        "steps": work.steps,
        "seconds": seconds,
        "law_error": None if work.gradient == "matrix" else law_error(work, np.asarray(run())),
    }


def far_tail(module: ModuleType, quick: bool) -> dict[str, float] | None:
    """Draws beyond the level of a small probability: with dt = 1 and H = 1 one step from anywhere is one draw."""
    probability, share = (1e-5, 18) if quick else (1e-6, 20)
    lanes = max(int((1 << share) * module.SHARE), 1)
    work = Work(lanes=lanes, dimension=16, steps=1, dt=1.0, noise_level=1.0, bound=1e30)
    level = (2 * float(stable.tail_constant(work.alpha)) / work.alpha / probability) ** (1 / work.alpha)
    try:
        found = int((np.abs(np.asarray(module.increments(work)())) > level).sum())
    except Unavailable:
        return None
    expected = probability * work.increments
    return {"probability": probability, "found": found, "expected": expected, "over_expected": found / expected}
