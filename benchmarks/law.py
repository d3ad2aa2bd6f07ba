"""Functions of the stable law: points a second beside SciPy's, and errors against a table of 20 digits."""

import csv
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import levy_stable

from levyjax import stable

from .common import interleaved, seconds_of

TABLE = Path(__file__).parents[1] / "tests" / "stable_table.csv"
ALPHA, SKEW = 1.5, 0.5
DIGITS = 14  # to which both routes of the table agree


def run(quick: bool) -> dict[str, Any]:
    """Rows of speeds at alpha = 1.5, and rows of the largest errors over the table."""
    return {"rows": speeds(quick), "errors": errors(), "alpha": ALPHA, "quick": quick}


def speeds(quick: bool) -> list[dict[str, Any]]:
    """Each function at many points of a sample of the law; SciPy's at fewer where it takes a minute."""
    points, slow = 100_000, 1_000 if quick else 100_000
    x = np.asarray(levy_stable.rvs(ALPHA, 0, size=points, random_state=0))
    cases: list[tuple[str, float, Any, Callable[..., Any], int]] = [
        ("pdf", 0.0, x, levy_stable.pdf, slow),
        ("cdf", 0.0, x, levy_stable.cdf, slow),
        ("pdf", SKEW, x, levy_stable.pdf, slow // 10),
        (
            "ppf",
            0.0,
            np.asarray(levy_stable.cdf(x[:1000], ALPHA, 0)).repeat(points // 1000),
            levy_stable.ppf,
            slow // 100,
        ),
    ]
    rows = []
    for name, beta, argument, rival, few in cases:
        scipys = few / seconds_of(lambda rival=rival, z=argument[:few], beta=beta: rival(z, ALPHA, beta))
        function = getattr(stable, name)
        with jax.enable_x64(True):
            exact = np.asarray(function(argument[:1000], np.full(1000, ALPHA), np.full(1000, beta)))  # no table
        for dtype in ("float64", "float32"):
            with jax.enable_x64(True):
                z = jnp.asarray(argument, dtype)
                call = functools.partial(function, z, jnp.asarray(ALPHA, dtype), beta and jnp.asarray(beta, dtype))
                seconds = min(interleaved({name: call}, 5)[name])
                found = np.asarray(call()[:1000], np.float64)
            rate = points / seconds
            error = float(np.max(np.abs(found / exact - 1)))
            size = {"function": name, "beta": beta, "dtype": dtype, "points": points, "points_per_second": rate}
            rows.append({**size, "error": error, "scipy_points_per_second": scipys, "over_scipy": rate / scipys})
    return rows


def errors() -> list[dict[str, Any]]:
    """The largest error of each function over the table: of a logarithm beyond 1e-300, else relative."""
    with TABLE.open() as file:
        table = [row for row in csv.DictReader(file) if int(row["digits"]) >= DIGITS]
    rows = []
    for dtype in ("float64", "float32"):
        for symmetric in (True, False):
            chosen = [row for row in table if (float(row["beta"]) == 0) == symmetric and kept(row, dtype)]
            for name in ("pdf", "sf", "cdf", "logpdf"):
                size = {"function": name, "dtype": dtype, "symmetric": symmetric, "points": len(chosen)}
                rows.append({**size, **largest(name, chosen, dtype)})
    return rows


def kept(row: dict[str, str], dtype: str) -> bool:
    """Float32 has no alpha = 1.999999, and its points next to the end of a support are other points."""
    return dtype == "float64" or (float(row["alpha"]) < 1.9999 and abs(float(row["logpdf"])) < 60)


def largest(name: str, table: list[dict[str, str]], dtype: str) -> dict[str, Any]:
    """The largest error and where it is; float32's against float64 at the parameters as float32 has them."""
    parts = [np.array([float(row[key]) for row in table]).astype(dtype) for key in ("x", "alpha", "beta")]
    log = name if name == "logpdf" else f"log{name}"
    exact = np.array([float(row[log]) for row in table])
    with jax.enable_x64(True):
        wide = [part.astype(np.float64) for part in parts]
        if dtype == "float32":
            x, alpha, beta = wide
            exact = np.asarray(stable.logsf(-x, alpha, -beta) if name == "cdf" else getattr(stable, log)(*wide))
        found = np.asarray(getattr(stable, name)(*map(jnp.asarray, parts)), np.float64)
    if name == "logpdf":
        finite = np.isfinite(exact)
        error = np.where(finite, np.abs(np.where(finite, found, 0) - np.where(finite, exact, 0)), found != exact)
        error = error / np.maximum(1, np.where(finite, np.abs(exact), 1))
    else:
        error = np.where(exact < -690, 0, np.abs(found * np.exp(-np.maximum(exact, -690)) - 1))
    place = int(np.argmax(error))
    return {"error": float(error[place]), **{key: float(table[place][key]) for key in ("alpha", "beta", "x")}}
