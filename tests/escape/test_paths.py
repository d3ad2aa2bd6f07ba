"""Whole paths against the exits of the same trajectories."""

import jax.numpy as jnp
import numpy as np
import pytest

from levyjax.basins import Ball, Box
from levyjax.dynamics import SGD, Momentum
from levyjax.escape import EscapeProblem, ExitCode, Plan, simulate, simulate_paths
from levyjax.landscapes import Quadratic
from levyjax.noise import Independent
from levyjax.solvers import Euler, Iteration, JumpAdapted

PLANE = EscapeProblem(Quadratic([1.0, 0.2]), Ball(1.0, [0.0, 0.0]), Independent(1.5, [1.0, 0.5]), SGD(), 0.3)
LINE = Quadratic([1.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0])
HEAVY_BALL = EscapeProblem(*LINE, Momentum(0.05, 0.9), 0.3)


@pytest.mark.parametrize(
    ("problem", "solver"),
    [(PLANE, Euler(0.05)), (PLANE, JumpAdapted()), (HEAVY_BALL, Iteration())],
    ids=["euler", "jumps", "momentum"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_path_ends_where_and_when_its_trajectory_does(problem, solver, dtype):
    plan = Plan(solver, num_trajectories=64, dtype=dtype)
    samples, paths = simulate(problem, plan, 3), simulate_paths(problem, plan, 400, 3)
    left = paths.exit_code == ExitCode.EXITED
    assert 10 < left.sum() < 64 or isinstance(solver, JumpAdapted)
    assert (left == (samples.exit_step <= 400)).all()
    assert (paths.exit_step[left] == samples.exit_step[left]).all()
    np.testing.assert_array_equal(paths.x[left, :, -1], samples.exit_position[left])
    assert [track.shape[1] for track in paths.tracks()] == (paths.exit_step + 1).tolist()
    inside = np.concatenate([track[:, :-1] for track in paths.tracks()], axis=1)
    assert np.asarray(problem.basin.contains(jnp.asarray(inside))).all()


def test_too_long_or_too_short():
    for num_steps in (0, 1 << 25):
        with pytest.raises(ValueError, match="num_steps must be at least 1"):
            simulate_paths(PLANE, Plan(Euler(0.1), 2), num_steps, 0)
