"""Running the claims and writing what came of them."""

import io
import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from levyjax.claims import (
    adam_exits,
    applied_noise,
    assumptions,
    averaging,
    clipped,
    control,
    figure5,
    geometry,
    iterates,
    matched_algorithms,
    matched_progress,
    network,
    odds,
    overshoot,
    real_escapes,
    real_noise,
    real_tails,
    small_noise,
    theorem1,
    training_path,
    valley,
    weak_error,
)
from levyjax.claims.base import Claim, Settings
from levyjax.claims.report import render_report
from levyjax.environment import environment
from levyjax.output import write_bytes, write_text
from levyjax.plots import style
from levyjax.records import read_record, write_record

CLAIMS: tuple[Claim, ...] = (  # every claim, in the order of the report
    *theorem1.CLAIMS,
    *small_noise.CLAIMS,
    *geometry.CLAIMS,
    *matched_progress.CLAIMS,
    *matched_algorithms.CLAIMS,
    *averaging.CLAIMS,
    *adam_exits.CLAIMS,
    *weak_error.CLAIMS,
    *overshoot.CLAIMS,
    *clipped.CLAIMS,
    *control.CLAIMS,
    *odds.CLAIMS,
    *valley.CLAIMS,
    *iterates.CLAIMS,
    *real_noise.CLAIMS,
    *applied_noise.CLAIMS,
    *network.CLAIMS,
    *assumptions.CLAIMS,
    *real_tails.CLAIMS,
    *training_path.CLAIMS,
    *real_escapes.CLAIMS,
    *figure5.CLAIMS,
)


def select(only: Sequence[str] | None = None) -> tuple[Claim, ...]:
    """The claims with these ids, in the order of the report; default all.

    Raises:
        ValueError: an id that no claim has.
    """
    ids = [claim.id for claim in CLAIMS]
    unknown = [name for name in only or () if name not in ids]
    if unknown:
        raise ValueError(f"There is no claim {unknown[0]!r}; there are {', '.join(ids)}.")
    return tuple(claim for claim in CLAIMS if not only or claim.id in only)


def reproduce(
    folder: Path,
    *,
    quick: bool = False,
    full: bool = False,
    seed: int = 0,
    only: Sequence[str] | None = None,
    jobs: int = 1,
    resume: bool = False,
    on_claim: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Put the claims to the test and write `report.html`, `results.json` and the figures.

    Args:
        folder: where to write; it exists.
        quick: small experiments.
        full: 16 times as many trajectories as by default, for an accelerator.
        seed: of the whole report.
        only: ids of the claims to run; default all.
        jobs: how many processes share the claims; the numbers do not depend on it. More than one needs a main module
            that can be imported (a script or the command, no interactive session), and no accelerator.
        resume: keep what the folder has of a run of the same size and seed with the same versions and devices.
            Claims that `only` leaves out are kept in any case, of whatever size and seed.
        on_claim: called with each claim's id when it is done.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: an id that no claim has, jobs below 1, quick and full at once, or with `only` a folder of results
            that cannot be kept.
    """
    if jobs < 1:
        raise ValueError(f"jobs = {jobs} is too small. Give 1 or more.")
    claims = select(only)
    settings = Settings(quick, seed, full)
    found = _kept(folder, settings, claims if resume else (), [claim for claim in CLAIMS if claim not in claims])
    ids = {claim.id for claim in claims}
    if only and (lost := [name for name in _earlier(folder)[0] if name not in ids | set(found)]):
        raise ValueError(
            f"The folder has {len(lost)} claims ({', '.join(lost[:3])}, ...) of other versions or devices, which would "
            "be lost. Give another folder."
        )
    left = [claim for claim in claims if claim.id not in found]
    results: dict[str, Any] = {"claims": [], "environment": environment()}
    for done, error in itertools.chain([(dict(found), None)], _put_to_the_test(left, settings, jobs)):
        found |= done
        for name, (_, figure) in done.items():
            write_bytes(folder / f"{name}.png", figure)
        there = [claim.id for claim in CLAIMS if claim.id in found]
        results["claims"] = [found[name][0] for name in there]
        # As they come, so that an interrupted report holds what is finished.
        write_record(folder / "results.json", results)
        write_text(folder / "report.html", render_report(results, {name: found[name][1] for name in there}))
        for name in done:
            if on_claim is not None:
                on_claim(name)
        if error is not None:
            raise RuntimeError(error)
    return results


def _earlier(folder: Path) -> tuple[dict[str, dict[str, Any]], Any]:
    """Id -> row of an earlier run, and its environment."""
    try:
        earlier = read_record(folder / "results.json", ("claims", "environment"))
        return {row["id"]: row for row in earlier["claims"]}, earlier["environment"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, None


def _kept(folder: Path, settings: Settings, same: Sequence[Claim], others: Sequence[Claim]) -> "Rows":
    """Rows and figures that an earlier run in the same environment has left: of some claims if their size and seed are
    the same, of others whatever they are."""
    rows, where = _earlier(folder)
    if where != environment():
        return {}
    kept: Rows = {}
    for claim in (*same, *others):
        row, figure = rows.get(claim.id, {}), folder / f"{claim.id}.png"
        wanted = {"rule": claim.rule, "statement": claim.statement}
        wanted |= {"command": _command(claim, settings)} if claim in same else {}
        if all(row.get(name) == value for name, value in wanted.items()) and figure.exists():
            kept[claim.id] = row, figure.read_bytes()
    return kept


Rows = dict[str, tuple[dict[str, Any], bytes]]  # id -> row of results.json, figure


def _put_to_the_test(claims: Sequence[Claim], settings: Settings, jobs: int) -> Iterator[tuple[Rows, str | None]]:
    """Rows and figures as they come; the claims of one module stay in one process, for they share what they train."""
    if jobs == 1:
        for claim in claims:
            yield {claim.id: _run(claim, settings)}, None
        return
    groups = itertools.groupby(claims, lambda claim: claim.run.__module__)
    # A forked process would inherit JAX's threads in the middle of their work.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        parts = [pool.submit(_tested, [claim.id for claim in group], settings) for _, group in groups]
        for part in as_completed(parts):
            yield part.result()
    except BaseException:  # workers would go on with what is in their queue
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _tested(ids: Sequence[str], settings: Settings) -> tuple[Rows, str | None]:
    """What is finished, and a sentence if a claim failed: not every error can go from one process to another."""
    found: Rows = {}
    for claim in select(ids):
        try:
            found[claim.id] = _run(claim, settings)
        except Exception as error:
            return found, f"{claim.id}: {type(error).__name__}: {error}"
    return found, None


def _run(claim: Claim, settings: Settings) -> tuple[dict[str, Any], bytes]:
    """One claim's row of `results.json`, and its figure."""
    import matplotlib

    matplotlib.use("Agg")
    began = time.perf_counter()
    outcome = claim.run(settings)
    with style():
        figure = _png(outcome.draw())
    row = {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "expected": outcome.expected,
        "measured": outcome.measured,
        "ci95": outcome.ci95,
        "verdict": outcome.verdict,
        "figure": f"{claim.id}.png",
        "seconds": time.perf_counter() - began,
        "seed": settings.seed,
        "rule": claim.rule,
        "finding": outcome.finding,
        "figure_alt": outcome.alt,
        "command": _command(claim, settings),
    }
    return row, figure


def _command(claim: Claim, settings: Settings) -> str:
    size = " --quick" * settings.quick + " --full" * settings.full
    return f"levyjax reproduce --only {claim.id} --seed {settings.seed}{size} --out report"


def _png(axes: Any) -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=170)
    plt.close(axes.figure)
    return buffer.getvalue()
