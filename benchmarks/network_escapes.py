"""Exits of real networks from their minima, beside those under models of their gradient noise."""

from typing import Any

from levyjax.claims.network import examples
from levyjax.claims.real_escapes import MODELS, SETS, OptimizerStudy, Plan, Study, escape_study

_PLAN = Plan(128, 600, (100, 250, 500), 250, tuple(MODELS))
_QUICK = Plan(64, 60, (20, 30, 50), 30, ("stable",), rays=False)
_COUNT = 100
_CELLS = (
    # data set, pooled pixels of a side, hidden layers, batch size
    ("digits", 2, (8,), 10),
    ("fashion_mnist", 4, (8,), 10),
    ("digits", 2, (8, 8), 10),
    ("fashion_mnist", 4, (8, 8), 10),
)


def _cell(data: str, patch: int, hidden: tuple[int, ...], batch_size: int, count: int, plan: Plan) -> Study:
    x, y = examples(data, count, patch)
    widths = "-".join(map(str, (x.shape[1], *hidden, 10)))
    name = f"{widths} tanh on {count} images of {data}, batches of {batch_size}"
    return escape_study(name, hidden, x, y, plan, 0, batch_size)


def _row(title: str, found: OptimizerStudy, place: int) -> dict[str, Any]:
    real = found.exits["algorithm"].fits[place]
    spread = found.exits["algorithm"].spread[place == len(SETS) - 1]
    row = {"optimizer": title, "set": SETS[place], "level": found.levels[place]}
    row |= {"level_over_typical": found.levels[place] / spread, "part_outside": found.outside[place]}
    row |= {"mean_steps": real.mean, "mean_steps_ci95": real.mean_interval, "exits": real.num_exited}
    models = {}
    for name, exits in found.exits.items():
        ratio, interval = (1.0, (1.0, 1.0)) if name == "algorithm" else found.ratio(name, place)
        models[name] = {"ratio": ratio, "ci95": interval, "exits": exits.fits[place].num_exited}
        models[name] |= {"exponential_p": exits.p_values[place]}
    return row | {"models": models}


def _told(study: Study) -> dict[str, Any]:
    rows = [_row(title, found, place) for title, found in study.optimizers.items() for place in range(len(SETS))]
    told = {"network": study.name, "dimension": study.dimension, "alpha": study.alpha, "accuracy": study.accuracy}
    return told | {"rays_steps": study.rays_steps, "rays_valid": study.rays_valid, "exits": rows}


def run(quick: bool) -> dict[str, Any]:
    """A study of each network and data set."""
    if quick:
        return {"rows": [_told(_cell("digits", 2, (3,), 10, 60, _QUICK))], "quick": quick}
    return {"rows": [_told(_cell(*cell, _COUNT, _PLAN)) for cell in _CELLS], "quick": quick}


def markdown(result: dict[str, Any]) -> str:
    """The tables of docs/network_escapes.md: ratios of mean exit times, with intervals."""
    return "\n\n".join(_table(study) for study in result["rows"]) + "\n"


def _table(study: dict[str, Any]) -> str:
    names = [name for name in study["exits"][0]["models"] if name != "algorithm"]
    lines = ["| out of | level / typical | outside | real mean | " + " | ".join(MODELS[name] for name in names) + " |"]
    lines.append("|---" * (4 + len(names)) + "|")
    for row in study["exits"]:
        cells = [f"{row['optimizer']}, {row['set']}", f"{row['level_over_typical']:.2f}", f"{row['part_outside']:.1%}"]
        cells += [f"{row['mean_steps']:.0f}", *(_ratio(row["models"][name]) for name in names)]
        lines.append("| " + " | ".join(cells) + " |")
    title = f"**{study['network']}**: {study['dimension']} parameters, measured index {study['alpha']:.2f}"
    return f"{title}, accuracy {study['accuracy']:.2f}\n\n" + "\n".join(lines)


def _ratio(model: dict[str, Any]) -> str:
    low, high = model["ci95"]
    if model["ratio"] is None:
        return f"> {low:.2g}"
    return f"{model['ratio']:.2g} ({low:.2g}-{high:.2g})"
