"""A landscape, basin, optimizer and noise of one's own, each registered by one line, from a run file to numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from levyjax import keys, stable
from levyjax.arrays import column, pytree
from levyjax.checks import positive, scale_matrix, sweep, vector
from levyjax.config import ConfigError, cells, parse
from levyjax.config.build import build_problem
from levyjax.config.tables import kinds
from levyjax.dynamics import SGD, Dynamics, SGDState
from levyjax.escape import EscapeProblem, Plan, predict, simulate
from levyjax.keys import key, piece
from levyjax.landscapes import Quadratic
from levyjax.landscapes.base import first_crossing
from levyjax.noise import Independent
from levyjax.random import Stream
from levyjax.solvers import Iteration


@pytest.fixture(autouse=True)
def registered():
    """The one line for each, taken back afterwards."""
    before = {table: dict(known) for table, known in kinds().items()}
    piece("landscape", "bowl")(Bowl)
    piece("basin", "diamond")(Diamond)
    piece("dynamics", "scaled_sgd")(ScaledSGD)
    piece("noise", "laplace")(Laplace)
    yield
    for table, known in before.items():
        keys.KINDS[table].clear()
        keys.KINDS[table].update(known)


@pytree
class Bowl:
    """F(x) = sum_j k_j (x_j^2/2 + x_j^4/4).

    Args:
        stiffness: k, (d,).
    """

    stiffness: Any = key(vector(positive), name="k", coordinates=0)

    @property
    def minimum(self):
        return np.zeros(self.stiffness.shape[0])

    def value(self, x):
        return (column(self.stiffness, x) * (x**2 / 2 + x**4 / 4)).sum(axis=0)

    def gradient(self, x):
        return column(self.stiffness, x) * (x + x**3)

    def hessian(self):
        return jnp.diag(jnp.asarray(self.stiffness))

    def in_sublevel(self, x, height):
        return self.value(x) < height

    def sublevel_gauge(self, direction, height):
        return first_crossing(lambda x: self.value(x) - height, self.minimum, direction, (1e-5, 1e5))


@pytree
class Diamond:
    """|x_1| + ... + |x_d| < radius.

    Args:
        radius: from the origin to each corner.
    """

    radius: Any = key(positive)

    def contains(self, x):
        return jnp.abs(x).sum(axis=0) < self.radius

    def gauge(self, origin, direction):
        """From the origin 0 alone."""
        return jnp.abs(direction).sum(axis=0) / self.radius

    def face_names(self, dimension):
        return tuple(f"x{j}" for j in range(dimension))

    def face(self, origin, x):
        return jnp.argmax(jnp.abs(x), axis=0)


@pytree
class ScaledSGD(Dynamics):
    """SGD with a step of its own for each coordinate.

    Args:
        factors: (d,), of each coordinate's step.
        learning_rate: eta.
    """

    factors: Any = key(vector(positive), coordinates=0, given="identity")
    learning_rate: Any = key(positive, default=None, swept=sweep(positive))

    def init(self, x):
        return SGDState(x)

    def iterate(self, state, gradient, driving):
        return SGDState(state.x - self.learning_rate * column(self.factors, state.x) * (gradient + driving.draw()))

    def drift(self, state, gradient, noise):
        return SGDState(-column(self.factors, gradient) * gradient)

    def displace(self, state, amount):
        return SGDState(state.x + column(self.factors, amount) * amount)


@pytree
class Laplace:
    """Draws A u for method "iteration", u_j with the density exp(-|u_j|)/2.

    Args:
        scale: A, its diagonal.
    """

    scale: Any = key(scale_matrix, coordinates=0, given="identity")

    def increment(self, counter, dt=1.0, stream=Stream.NOISE):
        bits = stable.draw_words(counter, self.scale.shape[0], stream, self.scale.dtype)
        size = stable.exponential(bits)
        return column(self.scale, size) * jnp.where(bits[0] >> jnp.uint32(31) == 0, 1, -1).astype(size.dtype) * size


RUN = {
    "landscape": {"kind": "bowl", "k": [1.0, 0.5]},
    "basin": {"kind": "diamond", "radius": 1.0},
    "dynamics": {"kind": "scaled_sgd", "learning_rate": [0.1, 0.2], "factors": [1.0, 0.5]},
    "noise": {"kind": "independent", "alpha": 1.5},
    "run": {"noise_level": 0.02, "method": "jump_adapted"},
}


def test_a_run_of_own_kinds_is_predicted():
    """Its rate is that of SGD in the same basin under the noise that the factors leave."""
    config = parse(RUN)
    assert parse(config.to_dict()) == config
    assert [cell.learning_rate for cell in cells(config)] == [0.1, 0.2]
    problem = build_problem(config, cells(config)[0])
    assert problem.landscape.stiffness.tolist() == [1.0, 0.5]
    alike = EscapeProblem(Quadratic([1.0, 0.5]), Diamond(1.0), Independent(1.5, [1.0, 0.5]), SGD(), 0.02)
    assert predict(problem).rate == pytest.approx(predict(alike).rate, rel=1e-2)


def test_own_draws_drive_the_iteration():
    config = parse(RUN | {"noise": {"kind": "laplace"}, "run": {"noise_level": 3.0, "method": "iteration"}})
    problem = build_problem(config, cells(config)[0])
    samples = simulate(problem, Plan(Iteration(), num_trajectories=64, max_time=20.0), 0)
    assert samples.exited.any()
    assert predict(problem, Iteration()).reasons[0].startswith("ScaledSGD itself has no exit rate")


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ({"landscape": {"kind": "bowel"}}, 'did you mean "bowl"?'),
        ({"landscape": {"kind": "bowl"}}, '[landscape] k is missing (kind = "bowl")'),
        ({"landscape": {"kind": "bowl", "stiffness": [1.0]}}, 'did you mean "k"?'),
        ({"landscape": {"kind": "bowl", "k": [1.0, -1.0]}}, "[landscape] k[1] = -1.0 is refused"),
        ({"landscape": {"kind": "bowl", "k": [1.0]}}, "[landscape] k has 1 coordinate but"),
        ({"basin": {"kind": "diamond", "radius": 0}}, "[basin] radius = 0 is refused"),
        (
            {"run": {"noise_level": 1, "dt": 0.1, "start": [0.5, 0.6]}},
            "leaves it after 0.909 of its length, through x1",
        ),
        ({"noise": {"kind": "laplace"}}, 'Set method = "iteration"'),
    ],
)
def test_what_is_wrong_with_an_own_kind_is_refused(edits, expected):
    with pytest.raises(ConfigError) as caught:
        parse(RUN | edits)
    assert expected in str(caught.value)


def test_own_kinds_are_in_the_list_of_kinds_and_refused_alike_in_python():
    with pytest.raises(ConfigError, match='"bowl"'):
        parse(RUN | {"landscape": {"kind": "x"}})
    with pytest.raises(ValueError, match=r"stiffness\[1\] = -1\.0 is refused"):
        Bowl([1.0, -1.0])
