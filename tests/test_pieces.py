"""Every public piece against the promises of its kind, table by table; a public class without an entry here fails.

Random checks run on fixed counters and allow 5 standard errors: each number has a false-alarm rate of 5.7e-7 over the
choice of counters, and fewer than 100 numbers are looked at.
"""

import dataclasses
import inspect
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import levyjax.basins
import levyjax.dynamics
import levyjax.landscapes
import levyjax.noise
import levyjax.solvers
from levyjax import tails
from levyjax.arrays import cast
from levyjax.basins import Attraction, Ball, Basin, Box, Ellipsoid, HalfSpace, Sublevel
from levyjax.dynamics import SGD, Adam, DrivingNoise, Dynamics, Momentum, RMSProp, flow
from levyjax.escape import EscapeProblem, unit_rate
from levyjax.landscapes import (
    AsymmetricValley,
    DoubleWell,
    Flat,
    Landscape,
    LinearDrift,
    LinearRegression,
    LogisticRegression,
    MultiWell,
    Quadratic,
    Separable,
    WangOhRhee,
    from_drift,
    from_function,
)
from levyjax.landscapes.base import has_potential
from levyjax.noise import Gaussian, Independent, LevyNoise, PerCoordinate, Rotational, SpectralMeasure
from levyjax.noise.base import JumpRays, JumpSplit
from levyjax.random import Counter, Stream
from levyjax.solvers import Euler, Iteration, JumpAdapted, Solver, Tamed

MATRIX = [[0.5, 0.1], [0.3, 0.2]]
WELL = DoubleWell(1.0, 0.25, [0.7])
VALLEY = AsymmetricValley([1.0, 0.5], [2.0, 3.0], [0.1, 0.2])
BOWL = from_function(lambda x, p: (p * x**2).sum() / 2 + (x**4).sum() + x[0] * x[1], [0.0, 0.0], np.array([3.0, 2.0]))
ROW = MultiWell([-1.0, 1.0, 2.5], [0.2, 2.0], [1.0, 0.5], [2.0, 3.0, 4.0], [2.5, 2.0], [0.0, -0.3, 0.2], well=1)

NOISES = {
    "independent": Independent(1.5, [0.5, 0.2]),
    "independent matrix": Independent(0.8, MATRIX),
    "independent Cauchy": Independent(1.0, [0.5, 0.2]),
    "independent alpha 2": Independent(2.0, [0.5, 0.2]),
    "rotational": Rotational(1.3, [0.5, 0.2]),
    "rotational matrix": Rotational(0.7, MATRIX),
    "rotational alpha 2": Rotational(2.0, [0.5, 0.2]),
    "per coordinate": PerCoordinate([1.2, 1.8], [0.5, 0.2]),
    "per coordinate matrix": PerCoordinate([0.7, 2.0], MATRIX),
    "gaussian": Gaussian([0.5, 0.2]),
    "gaussian matrix": Gaussian(MATRIX),
}
LANDSCAPES = {
    "quadratic": Quadratic([1.0, 0.3], [0.2, -0.1]),
    "quadratic matrix": Quadratic([[1.0, 0.2], [0.2, 0.5]]),
    "flat": Flat([0.1, 0.2]),
    "valley": VALLEY,
    "right well": WELL,
    "left well": DoubleWell(0.9, 0.5, [0.7], well="left"),
    "row of wells": ROW,
    "one well": MultiWell([0.3], [], [], [2.0], []),
    "Wang, Oh and Rhee": WangOhRhee(),
    "grid of wells": Separable([ROW, DoubleWell(1.0, 0.25)]),
    "function of parameters": BOWL,
    "function": from_function(lambda x: jnp.sum(jnp.cosh(x)), [0.0, 0.0]),
}
FEATURES = np.random.default_rng(3).normal(size=(40, 2)) * [1.0, 0.5]
LABELS = (FEATURES @ [1.0, -2.0] + np.random.default_rng(4).normal(size=40) > 0).astype(float)
LANDSCAPES |= {
    "linear regression": LinearRegression(FEATURES, FEATURES @ [1.0, -0.5] + 0.1 * LABELS, ridge=0.1),
    "logistic regression": LogisticRegression(FEATURES, LABELS, ridge=0.05),
}
DRIFTS = {  # without a potential: they have a gradient and a Hessian alone
    "linear drift": LinearDrift([[-1.0, 3.0], [-3.0, -0.5]], [0.1, 0.2]),
    "drift of parameters": from_drift(
        lambda x, p: p @ x - (x**2).sum() * x, [0.1, 0.1], np.array([[-1.0, 2], [-1, -2]])
    ),
    "drift beside a well": Separable([LinearDrift([[-2.0]]), DoubleWell(1.0, 0.25)]),
}
BASINS = {  # each with a point inside
    "box": (Box([-1.0, -0.5], [1.0, 1.5]), [0.2, 0.3]),
    "open box": (Box([-1.0, -np.inf], [np.inf, 1.5]), [0.2, 0.3]),
    "ball": (Ball(1.3, [0.2, -0.1]), [0.5, 0.3]),
    "ellipsoid": (Ellipsoid([1.0, 3.0], 1.5, [0.1, 0.0]), [0.2, 0.3]),
    "ellipsoid matrix": (Ellipsoid([[2.0, 0.5], [0.5, 1.0]], 1.0, [0.1, 0.2]), [0.2, 0.3]),
    "half-space": (HalfSpace([1.0, -0.5], 0.7), [0.2, 0.3]),
    "sublevel quadratic": (Sublevel(LANDSCAPES["quadratic matrix"], 0.7), [0.0, 0.0]),
    "sublevel valley": (Sublevel(VALLEY, 0.7), [0.1, 0.2]),
    "sublevel well": (Sublevel(WELL, 0.2), [1.0, 0.0]),
    "sublevel function": (Sublevel(BOWL, 0.7), [0.0, 0.0]),
    "sublevel grid": (Sublevel(Separable([ROW, DoubleWell(1.0, 0.25)]), 0.2), [1.0, 1.0]),
    "attraction": (Attraction(Separable([ROW, DoubleWell(1.0, 0.25)])), [1.1, 0.8]),
    "sublevel flat": (Sublevel(Flat([0.1, 0.2]), 1.0), [0.1, 0.2]),
}
EXTRAS = {"paper": {}, "corrected": {"beta2": 0.9}, "frozen": {"preconditioner": [0.5, 0.2]}}
DYNAMICS = {"sgd": SGD(0.1), "momentum": Momentum(0.1, 0.9), "rmsprop": RMSProp(0.1)} | {
    f"adam {variant} {law}": Adam(0.1, epsilon=1e-3, variant=variant, gradient_noise=law, **extra)
    for variant, extra in EXTRAS.items()
    for law in ("frozen", "gaussian", "stable")
}
SOLVERS = {
    "euler": Euler(0.05),
    "iteration": Iteration(),
    "jump-adapted": JumpAdapted(0.3, 0.2),
    "tamed": Tamed(0.05),
} | {"projected euler": Euler(0.05, [[-0.5, -1.0], [0.7, 1.0]])}
KINDS = {
    "noise": (levyjax.noise, LevyNoise, NOISES),
    "landscapes": (levyjax.landscapes, Landscape, LANDSCAPES | DRIFTS),
    "basins": (levyjax.basins, Basin, {name: basin for name, (basin, _) in BASINS.items()}),
    "dynamics": (levyjax.dynamics, Dynamics, DYNAMICS),
    "solvers": (levyjax.solvers, Solver, SOLVERS),
}
RECORDS = {Counter, JumpRays, JumpSplit, DrivingNoise, SpectralMeasure}  # what pieces are given or give back
DRAWS = {  # their table is in test_noise
    item for item in vars(levyjax.noise).values() if isinstance(item, type) and not hasattr(item, "spectral_measure")
}
WITHOUT_SDE = {  # tested in test_dynamics, as optax's states are in test_optax
    item
    for item in vars(levyjax.dynamics).values()
    if isinstance(item, type) and issubclass(item, Dynamics) and item.drift is Dynamics.drift
}
PROBLEM = EscapeProblem(Quadratic([1.0, 0.3]), Box([-1.0, -2.0], [1.0, 2.0]), NOISES["independent"], SGD(0.1), 0.3)
ALL = [(kind, name) for kind, (_, _, pieces) in KINDS.items() for name in pieces]
FURTHER = ("independent matrix", "quadratic matrix", "ellipsoid matrix", "adam corrected stable", "adam frozen frozen")
FIRST = {type(piece): name for _, _, pieces in KINDS.values() for name, piece in reversed(pieces.items())}
DISTINCT = [(kind, name) for kind, name in ALL if name in (*FIRST.values(), *FURTHER)]  # by their operations
each_distinct_piece = pytest.mark.parametrize(
    ("kind", "name"), DISTINCT, ids=[f"{kind}: {name}" for kind, name in DISTINCT]
)
each_piece = pytest.mark.parametrize(("kind", "name"), ALL, ids=[f"{kind}: {name}" for kind, name in ALL])


def counters(size, step=977):
    index = jnp.arange(size, dtype=jnp.uint32)
    return Counter(0 * index + jnp.uint32(5), index, jnp.uint32(step) + 0 * index, 0 * index)


def points(size, seed=0, low=-2.0, high=2.0):
    return jnp.asarray(np.random.default_rng(seed).uniform(low, high, (2, size)), jnp.result_type(float))


def probe(kind, origin, piece, x, counter):
    """All that a piece gives, at points (2, *batch) and counters (*batch), with the batch last."""
    if kind == "noise":
        dt, axis = jnp.asarray(0.1, x.dtype), (counter.low % 2).astype(jnp.int32)
        return piece.increment(counter, dt), piece.jump_direction(counter, axis, Stream.GRADIENT)
    if kind == "landscapes":
        height, x = jnp.asarray(0.2, x.dtype), x[: piece.minimum.shape[0]]
        if not has_potential(piece):
            return piece.gradient(x)
        gauge = piece.sublevel_gauge(x, height)
        return piece.value(x), piece.gradient(x), piece.in_sublevel(x, height), gauge
    if kind == "basins":
        start = jnp.asarray(origin, x.dtype)
        offset = x - start.reshape((2,) + (1,) * (x.ndim - 1))
        return piece.contains(x), piece.gauge(start, offset), piece.face(start, x)
    if kind == "dynamics":
        noise, level, dt = cast((NOISES["gaussian matrix"], 0.3, 0.05), x.dtype)
        driving = DrivingNoise(noise, level, counter, dt)
        state = piece.rest(x, noise)
        moved = [piece.sde_step(state, x, driving), piece.iterate(state, x, driving), piece.drift(state, x, noise)]
        return *moved, piece.displace(state, x), piece.init(x)
    lone = x.ndim == 1  # solvers take lanes
    x, counter = jax.tree.map(lambda part: part[..., None] if lone else part, (x, counter))
    problem = cast(PROBLEM, x.dtype)
    state = piece.step(problem, piece.init(problem, x), counter)
    after = (state, piece.clock(state), jnp.broadcast_to(piece.expired(state), x.shape[1:]))
    return jax.tree.map(lambda part: part[..., 0] if lone else part, after)


def subject(kind, name, dtype="float32"):
    """The probe of a piece and the piece, as a problem hands it to the program."""
    piece, origin = KINDS[kind][2][name], BASINS[name][1] if kind == "basins" else None
    if kind == "solvers":
        with jax.enable_x64(True):
            piece = piece.prepare(PROBLEM, 100.0)
    return partial(probe, kind, origin), cast(piece, jnp.dtype(dtype))


def assert_close(first, second, ulps=64):
    """Equal but for rounding; whole numbers and truth values equal."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
        else:
            eps = np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=ulps * eps, atol=ulps * eps * np.median(np.abs(b)))


@pytest.fixture(autouse=True)
def quick_compiler():
    """Programs that are used once compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_public_class_is_in_the_table(kind):
    package, protocol, pieces = KINDS[kind]
    public = {item for name in package.__all__ if isinstance(item := getattr(package, name), type)}
    states = {type(piece.init(points(1))) for piece in pieces.values()} if kind == "dynamics" else set()
    assert public - RECORDS - DRAWS - WITHOUT_SDE - states - {protocol} == {type(piece) for piece in pieces.values()}


class TestEveryPiece:
    @each_piece
    def test_is_frozen_and_a_pytree_and_fits_its_protocol(self, kind, name):
        _, protocol, pieces = KINDS[kind]
        piece = pieces[name]
        assert isinstance(piece, protocol)
        for field in dataclasses.fields(piece):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(piece, field.name, 1.0)
        leaves, structure = jax.tree.flatten(piece)
        again = jax.tree.unflatten(structure, leaves)
        assert jax.tree.structure(again) == structure == jax.tree.structure(jax.tree.map(lambda leaf: leaf, piece))
        assert all(a is b for a, b in zip(jax.tree.leaves(again), leaves, strict=True))
        for placeholder in (object(), None, "leaf", jax.ShapeDtypeStruct((3,), jnp.float32)):
            assert type(jax.tree.map(lambda _, p=placeholder: p, piece)) is type(piece)
        names = {field.name for field in dataclasses.fields(piece)}
        assert {path[0].name for path, _ in jax.tree_util.tree_leaves_with_path(piece)} <= names

    @each_distinct_piece
    def test_jit_and_vmap_give_what_eager_gives(self, kind, name):
        """vmap over a batch of parameters, and inside it over points one by one."""
        function, piece = subject(kind, name)
        x, counter = points(4), counters(4)
        eager = function(piece, x, counter)
        assert_close(jax.jit(function)(piece, x, counter), eager)

        @jax.jit
        def mapped(piece, x, counter):
            both = jax.tree.map(lambda leaf: jnp.stack([leaf * jnp.asarray(0.8, leaf.dtype), leaf]), piece)
            one_by_one = jax.vmap(function, (None, -1, -1), -1)
            return jax.vmap(lambda piece: one_by_one(piece, x, counter), axis_size=2)(both)

        assert_close(jax.tree.map(lambda part: part[1], mapped(piece, x, counter)), eager)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @each_distinct_piece
    def test_dtype_is_kept(self, kind, name, dtype):
        """Under strict promotion (conftest), with 64 bits enabled, where a stray default would show."""
        with jax.enable_x64(True):
            function, piece = subject(kind, name, dtype)
            shapes = jax.eval_shape(function, piece, points(3).astype(dtype), counters(3))
        floating = [leaf.dtype for leaf in jax.tree.leaves(shapes) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        assert set(floating) <= {jnp.dtype(dtype)}
        assert floating or kind == "basins"


@partial(jax.jit, static_argnums=2)
def jump_rays(noise, counter, stream):
    return noise.jump_rays(counter, stream)


class TestNoises:
    @pytest.mark.parametrize("name", ["independent matrix", "per coordinate", "rotational", "gaussian"])
    def test_an_increment_is_its_counters_whatever_the_batch(self, name):
        jax.config.update("jax_disable_most_optimizations", False)
        noise = cast(NOISES[name], jnp.float32)
        draw = jax.jit(lambda counter: noise.increment(counter, jnp.float32(0.1)))
        many = counters(60)
        whole = np.asarray(draw(many))
        assert np.unique(whole).size == whole.size
        np.testing.assert_array_equal(draw(Counter(*(word[13:20] for word in many))), whole[:, 13:20])
        np.testing.assert_array_equal(draw(Counter(*(word[4] for word in many))), whole[:, 4])
        grid = draw(Counter(*(word.reshape(3, 20) for word in many)))
        np.testing.assert_array_equal(grid, whole.reshape(2, 3, 20))

    @pytest.mark.parametrize("part", [0.25, 1.0])
    @pytest.mark.parametrize("name", NOISES)
    def test_split_is_the_levy_measure_cut_in_two(self, name, part):
        """The density c |y|^(-1-alpha) from int (1 - cos y) c |y|^(-1-alpha) dy = 1, all by quadrature."""
        noise, width = NOISES[name], np.array([1.0, 0.4])
        spread = np.asarray(noise.scale)
        matrix = np.diag(spread) if spread.ndim == 1 else spread
        with jax.enable_x64(True):
            split = noise.split(lambda rays: jnp.abs(rays / width[:, None]).max(axis=0), part)
        split = JumpSplit(*map(np.asarray, split))
        isotropic = isinstance(noise, Rotational)
        reach = np.abs(matrix / width[:, None]).max(axis=0)
        if isotropic:  # the widest direction: the supremum of |row' u| over the circle
            reach = np.linalg.norm(matrix / width[:, None], axis=1).max(keepdims=True)
        np.testing.assert_allclose(split.reaches, reach, rtol=1e-8)
        alphas = np.broadcast_to(noise.alpha, split.rates.shape)
        for axis, alpha in enumerate(alphas):
            self._check_axis(isotropic, float(alpha), part / reach[axis], split, axis)

    def _check_axis(self, isotropic, alpha, threshold, split, axis):
        variances = split.variances if isotropic else split.variances[axis : axis + 1]
        if alpha == 2:
            assert split.rates[axis] == 0
            np.testing.assert_allclose(variances, 2.0, rtol=1e-12)
            return
        near = integrate.quad(lambda y: 2 * (math.sin(y / 2) / y) ** 2 * y ** (1 - alpha), 0, 1)[0]
        far = integrate.quad(lambda y: y ** (-1 - alpha), 1, math.inf, weight="cos", wvar=1)[0]
        density, coordinates = 1 / (2 * (near + 1 / alpha - far)), 1
        if isotropic:  # what one coordinate sees of the radial density is E|cos|^alpha of it
            seen = integrate.quad(lambda angle: math.cos(angle) ** alpha, 0, math.pi / 2)[0] * 2 / math.pi
            density, coordinates = density / seen, 2
        expected = 2 * density * integrate.quad(lambda y: y ** (-1 - alpha), threshold, math.inf)[0]
        assert float(split.rates[axis]) == pytest.approx(expected, rel=1e-6)
        expected = 2 * density / coordinates * integrate.quad(lambda y: y ** (1 - alpha), 0, threshold)[0]
        np.testing.assert_allclose(variances, expected, rtol=1e-6)

    @pytest.mark.parametrize("name", ["independent matrix", "rotational"])
    def test_directions_of_jumps(self, name):
        noise, many = cast(NOISES[name], jnp.float32), counters(20_000)
        axis = (many.key1 % 2).astype(jnp.int32)
        aim = np.asarray(jax.jit(noise.jump_direction, static_argnums=2)(many, axis, Stream.GRADIENT), np.float64)
        assert aim.shape == (2, 20_000)
        np.testing.assert_allclose((aim**2).sum(axis=0), 1, rtol=1e-6)
        if isinstance(noise, Independent):
            assert np.all(aim[1 - np.asarray(axis), np.arange(20_000)] == 0)
            moments = [aim.sum(axis=0), aim.sum(axis=0) * (1 - 2 * np.asarray(axis))]
        else:  # all harmonics of the angle up to the fourth have mean zero
            angle = np.arctan2(aim[1], aim[0])
            moments = [f(k * angle) for k in range(1, 5) for f in (np.cos, np.sin)]
        for values in moments:
            assert abs(values.mean()) < 5 * values.std() / math.sqrt(values.size)

    @pytest.mark.parametrize("name", NOISES)
    def test_jump_rays_have_the_unit_rate_for_mean(self, name):
        basin = Box([-1.0, -0.5], [1.0, 1.5])
        with jax.enable_x64(True):
            noise, many = cast(NOISES[name], jnp.float64), counters(4000)
            problem = EscapeProblem(Quadratic([1.0, 1.0]), basin, noise, SGD(), 1.0)
            rays = jump_rays(noise, many, Stream.GRADIENT)
            assert rays.vectors.shape[0] == 2
            assert rays.vectors.shape[2:] in ((1,), (4000,))
            sides = [basin.gauge(jnp.zeros(2), side * rays.vectors) ** rays.alpha for side in (1, -1)]
            rates = np.asarray(rays.weight * sum(sides).sum(axis=0))
            expected = 0.0 if noise.spectral_measure() is None else float(jax.jit(unit_rate)(problem))
        assert abs(rates.mean() - expected) <= 5 * rates.std() / math.sqrt(rates.size) + 1e-12


class TestLandscapes:
    @pytest.mark.parametrize("name", LANDSCAPES)
    def test_gradient_and_hessian_are_derivatives_and_the_minimum_is_one(self, name):
        with jax.enable_x64(True):
            landscape = cast(LANDSCAPES[name], jnp.float64)
            x = points(50)[: landscape.minimum.shape[0]]

            @jax.jit
            def everything(landscape, x):
                minimum = jnp.asarray(landscape.minimum)
                slope = jax.grad(lambda x: landscape.value(x).sum())(x)
                sides = [jax.jacfwd(landscape.gradient)(minimum + side * 1e-7) for side in (-1, 1)]
                rise = landscape.value(minimum[:, None] + 0.1 * x) - landscape.value(minimum)
                return landscape.gradient(x), slope, landscape.gradient(minimum), landscape.hessian(), sides, rise

            gradient, slope, rest, hessian, sides, rise = everything(landscape, x)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(rest, 0, atol=1e-12)
        np.testing.assert_allclose(hessian, np.minimum(*map(np.asarray, sides)), atol=1e-5)  # the flatter side's
        assert np.all(np.asarray(rise) >= 0)

    @pytest.mark.parametrize("name", DRIFTS)
    def test_a_drift_comes_to_rest_where_its_hessian_is_minus_the_jacobian(self, name):
        with jax.enable_x64(True):
            drift = cast(DRIFTS[name], jnp.float64)
            minimum = jnp.asarray(drift.minimum)
            np.testing.assert_allclose(drift.gradient(minimum), 0, atol=1e-14)
            np.testing.assert_allclose(drift.hessian(), jax.jacfwd(drift.gradient)(minimum), rtol=1e-9, atol=1e-9)
            x = points(3)
            one_by_one = jnp.stack([drift.gradient(point) for point in x.T], axis=1)
            np.testing.assert_allclose(drift.gradient(x), one_by_one, rtol=1e-14)

    @pytest.mark.parametrize("name", DRIFTS)
    def test_a_drift_has_no_values(self, name):
        drift, x = DRIFTS[name], jnp.zeros(2)
        for asked in (drift.value, lambda x: drift.in_sublevel(x, 1.0), lambda x: drift.sublevel_gauge(x, 1.0)):
            with pytest.raises(ValueError, match=r"needs a potential F, and a drift .* has none: take a Box"):
                asked(x)


@jax.jit
def contains(basin, x):
    return basin.contains(x)


@jax.jit
def gauge_of(basin, origin, ray):
    return basin.gauge(origin, ray)


class TestBasins:
    @pytest.mark.parametrize("name", BASINS)
    def test_contains_gauge_and_face_agree(self, name):
        basin, origin = BASINS[name]
        with jax.enable_x64(True):
            size = 60 if isinstance(basin, Attraction) else 3000  # each a search along its ray
            origin, x = jnp.asarray(origin), points(size, low=-2.5, high=2.5)
            ray = x - origin[:, None]
            gauge = np.asarray(gauge_of(basin, origin, ray))
            assert bool(contains(basin, origin))
            assert not bool(contains(basin, origin * math.nan))
            np.testing.assert_array_equal(contains(basin, x), gauge < 1)
            np.testing.assert_allclose(gauge_of(basin, origin, 2.5 * ray), 2.5 * gauge, rtol=1e-9)
            leaves = gauge > 1e-3
            wall = np.asarray(ray) / np.where(leaves, gauge, np.inf)
            for part, inside in ((1 - 1e-6, True), (1 + 1e-6, False)):
                found = np.asarray(contains(basin, origin[:, None] + part * wall))
                assert np.all(found[leaves] == inside)
            names, face = basin.face_names(2), np.asarray(basin.face(origin, x))[gauge >= 1]
            assert len(set(names)) == len(names)
            assert face.dtype.kind == "i"
            assert np.all((face >= 0) & (face < len(names)))
            if isinstance(basin, Sublevel):
                return
            origins = origin[:, None] + 0.1 * x
            together = gauge_of(basin, origins, ray)
            for place in range(1 if isinstance(basin, Attraction) else 5):
                alone = gauge_of(basin, origins[:, place], ray[:, place])
                # how many points of a ray descend together, and so its last digits, depends on the number of rays
                rel = 1e-9 if isinstance(basin, Attraction) else 1e-12
                assert float(together[place]) == pytest.approx(float(alone), rel=rel)


BAD = {
    "independent alpha": (lambda: Independent(2.5, [1.0]), "alpha = 2.5 is refused"),
    "independent scale": (
        lambda: Independent(1.5, [1.0, -0.5]),
        "scale[1] = -0.5 is refused: give a finite number, 0 or above.",
    ),
    "independent no noise": (lambda: Independent(1.5, [0.0, 0.0]), "scale = [0.0, 0.0] is refused"),
    "per coordinate alphas": (lambda: PerCoordinate([1.2, 2.5], [1.0] * 2), "alphas[1] = 2.5 is refused"),
    "per coordinate number": (lambda: PerCoordinate([[1.2]], [1.0]), "alphas[0] = [1.2] is refused"),
    "per coordinate sizes": (lambda: PerCoordinate([1.2], [1.0] * 2), "alphas has 1 entries but scale has 2 columns."),
    "rotational alpha": (lambda: Rotational(0.0, [1.0]), "alpha = 0.0 is refused"),
    "rotational scale": (
        lambda: Rotational(1.5, [[1.0, 0.0], [1.0]]),
        "scale: row 1 has 1 entries, but row 0 has 2. Give a list of rows of one length, one a coordinate.",
    ),
    "gaussian scale": (lambda: Gaussian([math.inf]), "scale[0] = inf is refused: give a finite number, 0 or above."),
    "gaussian words": (lambda: Gaussian("wide"), 'scale = "wide" is refused'),
    "quadratic curvature": (
        lambda: Quadratic([1.0, -2.0]),
        "curvature[1] = -2.0 is refused: give a finite number above 0.",
    ),
    "quadratic matrix": (
        lambda: Quadratic([[1.0, 0.3], [0.2, 1.0]]),
        "curvature is not symmetric: entry [1][0] is 0.2 but entry [0",
    ),
    "quadratic center": (lambda: Quadratic([1.0], [0.0, 0.0]), "center has 2 coordinates but curvature has 1."),
    "flat center": (lambda: Flat([[0.0]]), "center[0] = [0.0] is refused"),
    "valley left": (lambda: AsymmetricValley([0.0], [1.0]), "curvature_left[0] = 0.0 is refused"),
    "valley right": (lambda: AsymmetricValley([1.0], []), "curvature_right = [] is refused"),
    "valley center": (lambda: AsymmetricValley([1.0], [1.0], [0.0] * 2), "center has 2 coordinates"),
    "well width": (lambda: DoubleWell(-1.0, 0.25), "width = -1.0 is refused: give a finite number above 0."),
    "well barrier": (lambda: DoubleWell(1.0, math.nan), "barrier = nan is refused: give a finite number above 0."),
    "well curvature": (
        lambda: DoubleWell(1.0, 0.25, [0.0]),
        "curvature[0] = 0.0 is refused: give a finite number above 0.",
    ),
    "well side": (lambda: DoubleWell(1.0, 0.25, well="up"), 'well = "up" is unknown: Allowed are "right", "left".'),
    "row order": (
        lambda: MultiWell([0.0, 1.0], [1.5], [1.0], [1.0, 1.0], [1.0]),
        "minima and saddles do not alternate: 1.0 comes after 1.5. Gi",
    ),
    "row sizes": (
        lambda: MultiWell([0.0, 1.0], [0.5], [1.0], [1.0], [1.0]),
        "curvatures has 1 entries, but 2 minima need 2. Give one for ",
    ),
    "row barriers": (
        lambda: MultiWell([0.0, 1.0], [0.5], [], [1.0, 1.0], [1.0]),
        "barriers has 0 entries, but 2 minima need 1. Give one for ea",
    ),
    "row low barrier": (
        lambda: MultiWell([0.0, 1.0], [0.5], [1e-3], [1.0, 1.0], [1.0]),
        "barriers: F would not be monotone between 0 and 0.5. Raise t",
    ),
    "row curvature": (lambda: MultiWell([0.0], [], [], [-1.0], []), "curvatures[0] = -1.0 is refused"),
    "row well": (lambda: MultiWell([0.0], [], [], [1.0], [], well=1), "well = 1 is refused"),
    "separable": (lambda: Separable([]), "needs at least one part"),
    "Wang, Oh and Rhee well": (lambda: WangOhRhee(4), "well = 4 is refused"),
    "linear shapes": (lambda: LinearRegression([[1.0]], [1.0, 2.0]), "got (1, 1) and (2,)."),
    "linear rank": (lambda: LinearRegression([[1.0, 1.0]], [1.0]), "only 1 of 2 coordinates"),
    "linear ridge": (lambda: LinearRegression([[1.0]], [1.0], -1.0), "ridge must not be negative, got -1.0."),
    "logistic labels": (lambda: LogisticRegression([[1.0]], [2.0]), "targets must be 0 or 1, got [2.0]."),
    "logistic separable": (lambda: LogisticRegression([[1.0], [-1.0]], [1.0, 0.0]), "The data are separable"),
    "function slope": (lambda: from_function(lambda x: (x**2).sum(), [1.0]), "minimum has norm 2;"),
    "function value": (lambda: from_function(lambda x: x, [1.0]), "must give one finite number at the minimum"),
    "box order": (lambda: Box([1.0], [0.0]), "lower[0] = 1.0 is not below upper[0] = 0.0. Make each lower "),
    "box upper": (lambda: Box([0.0], [math.nan]), "upper[0] = nan is refused: give a number or inf."),
    "box open": (lambda: Box([-math.inf], [math.inf]), "lower and upper have no finite bound, so nothing can leave. "),
    "ball radius": (lambda: Ball(0.0, [0.0]), "radius = 0.0 is refused: give a finite number above 0."),
    "ball center": (lambda: Ball(1.0, [math.inf]), "center[0] = inf is refused: give a finite number."),
    "ellipsoid matrix": (lambda: Ellipsoid([[1.0, 2.0], [2.0, 1.0]], 1.0, [0.0] * 2), "smallest eigenvalue is -1."),
    "ellipsoid level": (
        lambda: Ellipsoid([1.0], -1.0, [0.0]),
        "level = -1.0 is refused: give a finite number above 0.",
    ),
    "ellipsoid center": (lambda: Ellipsoid([1.0], 1.0, [0.0] * 2), "matrix has 1 coordinates but center has 2."),
    "half-space normal": (lambda: HalfSpace([0.0, 0.0], 1.0), "normal = [0.0, 0.0] is refused"),
    "half-space offset": (lambda: HalfSpace([1.0], [1.0]), "offset = [1.0] is refused: give a finite number."),
    "sublevel height": (lambda: Sublevel(WELL, -0.5), "height = -0.5 is refused: give a finite number above 0."),
    "attraction flat": (lambda: Attraction(Flat([0.0])), "does not rise from its minimum along all rays"),
    "attraction near": (lambda: Attraction(WELL, -1.0), "near must be positive, got -1.0."),
    "attraction tolerance": (lambda: Attraction(WELL, tolerance=0.0), "tolerance must be positive, got 0.0."),
    "attraction steps": (lambda: Attraction(WELL, max_steps=0), "max_steps must be at least 1, got 0."),
    "sgd learning_rate": (lambda: SGD(-0.1), "learning_rate = -0.1 is refused"),
    "momentum learning_rate": (lambda: Momentum(None), "needs a learning_rate"),
    "momentum beta": (lambda: Momentum(0.1, 1.0), "beta = 1.0 is refused"),
    "adam learning_rate": (lambda: Adam(math.nan), "learning_rate = nan is refused: give a finite number above 0."),
    "adam beta1": (lambda: Adam(beta1=1.5), "beta1 = 1.5 is refused"),
    "adam beta2": (lambda: Adam(beta2=[0.9]), "beta2 = [0.9] is refused"),
    "adam epsilon": (lambda: Adam(epsilon=-1e-8), "epsilon = -1e-08 is refused"),
    "adam variant": (lambda: Adam(variant="w"), 'variant = "w" is unknown: Allowed are "paper", "corrected", '),
    "adam preconditioner": (
        lambda: Adam(variant="frozen", preconditioner=[-1.0]),
        "preconditioner[0] = -1.0 is refused",
    ),
    "euler dt": (lambda: Euler(0.0), "dt must be positive, got 0.0."),
    "tamed dt": (lambda: Tamed(-1.0), "dt must be positive, got -1.0."),
    "tamed project": (lambda: Tamed(0.1, [[0.0], [0.0]]), "lower bounds below the upper ones, got [0.] and [0.]."),
    "iteration project": (lambda: Iteration([-1.0, 1.0]), "the upper bounds, (2, d), got shape (2,)."),
    "jump-adapted jump_part": (lambda: JumpAdapted(1.5), "jump_part must be in (0, 1), got 1.5."),
    "jump-adapted step_part": (lambda: JumpAdapted(0.2, 0.0), "step_part must be in (0, 1), got 0.0."),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_is_refused_in_one_sentence(name):
    make, words = BAD[name]
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
        make()
    assert words in str(caught.value)


def heavy(size=2000):
    """Symmetric values with a tail index of 1.5."""
    rng = np.random.default_rng(1)
    return rng.choice([-1.0, 1.0], size) * rng.random(size) ** (-1 / 1.5)


ESTIMATORS = {  # what each says of data, without the unit of the data
    "audit": lambda x: [estimate.alpha for estimate in tails.audit(x[:400]).estimates.values()],
    "block_length_sweep": lambda x: tails.block_length_sweep(x).alpha,
    "block_log_moment": lambda x: tails.block_log_moment(x).interval,
    "block_log_moment_as_published": lambda x: tails.block_log_moment_as_published(x / np.abs(x).max()).interval,
    "characteristic_function": lambda x: tails.characteristic_function(x).interval,
    "estimate": lambda x: tails.estimate(x.reshape(-1, 4), "log_moment").interval,
    "estimate_columns": lambda x: tails.estimate_columns(x.reshape(-1, 4), "log_moment").interval,
    "fit_law": lambda x: tails.fit_law(x, "student_t").shape,
    "fractional_moment": lambda x: tails.fractional_moment(x).interval,
    "hill": lambda x: tails.hill(x).interval,
    "hill_plot": lambda x: tails.hill_plot(x).alpha,
    "koutrouvelis": lambda x: tails.koutrouvelis(x).interval,
    "log_moment": lambda x: tails.log_moment(x).interval,
    "maximum_likelihood": lambda x: tails.maximum_likelihood(x).interval,
    "mcculloch": lambda x: tails.mcculloch(x).interval,
    "moment": lambda x: tails.moment(x).interval,
    "per_coordinate": lambda x: tails.per_coordinate(x.reshape(-1, 4)).interval,
    "pool": lambda x: tails.pool(x).values,
    "power_law": lambda x: tails.power_law(x).interval,
    "truncated_power_law": lambda x: tails.truncated_power_law(x).interval,
    "shuffle_test": lambda x: tails.shuffle_test(x, num_shuffles=19).shuffled,
    "stable_scale": lambda x: tails.stable_scale(x, 1.5) / np.abs(x).max(),
}
NOT_OF_DATA = {"accumulate", "combine", "extrapolate_alpha", "finish", "load", "start_stream"} | {
    "critical_learning_rate",
    "iterate_tail_index",
    "tail_probability",
}


class TestTails:
    def test_every_public_function_is_in_the_table(self):
        functions = {name for name in tails.__all__ if name.islower()}
        assert functions == ESTIMATORS.keys() | NOT_OF_DATA

    @pytest.mark.parametrize("name", ESTIMATORS)
    def test_neither_unit_nor_type_matter_and_data_are_left_alone(self, name):
        x = heavy().astype(np.float32)
        before, found = x.copy(), ESTIMATORS[name](x)
        np.testing.assert_array_equal(x, before)
        np.testing.assert_allclose(ESTIMATORS[name](x.astype(np.float64)), found, rtol=1e-6)
        if name != "pool":  # which takes NumPy arrays only
            np.testing.assert_allclose(ESTIMATORS[name](jnp.asarray(x)), found, rtol=1e-6)
        np.testing.assert_allclose(ESTIMATORS[name](x * 1024.0), found, rtol=1e-6)
        np.testing.assert_array_equal(ESTIMATORS[name](x), found)  # random parts are seeded

    @pytest.mark.parametrize("name", sorted(ESTIMATORS.keys() - {"stable_scale", "pool", "fit_law"}))
    def test_bad_data_are_refused_in_sentences(self, name):
        function = getattr(tails, name)
        shape = (-1, 4) if name in ("per_coordinate", "estimate_columns") else (-1,)
        for value, words in ((math.nan, "values that are NaN or infinite"), (None, "is constant")):
            x = np.where(np.arange(2000) < 3, value, heavy()) if value else np.ones(2000)
            with pytest.raises(ValueError, match=r"^data [^\n]+\.$") as caught:
                function(x.reshape(shape))
            assert words in str(caught.value)

    def test_results_are_frozen(self):
        x = heavy()
        results = [tails.hill(x), tails.fit_law(x, "gaussian"), tails.block_length_sweep(x), tails.pool(x)]
        results += [tails.shuffle_test(x, num_shuffles=19), tails.audit(x[:400]), tails.hill_plot(x)]
        results += [tails.start_stream("log_moment")]
        found = [getattr(tails, name) for name in tails.__all__ if name.islower()]
        returned = {inspect.signature(function).return_annotation for function in found} | {tails.TailAudit}
        estimates = {tails.TailEstimate, *map(type, results)}
        assert {kind for kind in returned if dataclasses.is_dataclass(kind)} == estimates
        for result in results:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(result, dataclasses.fields(result)[0].name, None)


TWO = Quadratic([1.0, 0.3])
RATES = {
    "box, independent": (TWO, Box([-1.0, -0.5], [1.0, 1.5]), Independent(1.5, MATRIX), SGD()),
    "box, rotational": (TWO, Box([-1.0, -0.5], [1.0, 1.5]), Rotational(1.3, [0.5, 0.2]), SGD()),
    "box, per coordinate": (TWO, Box([-1.0, -0.5], [1.0, 1.5]), PerCoordinate([1.2, 1.8], MATRIX), SGD()),
    "ball, momentum": (TWO, Ball(1.3, [0.2, -0.1]), Independent(1.5, [0.5, 0.2]), Momentum(0.1, 0.9)),
    "ellipsoid, frozen Adam": (
        TWO,
        BASINS["ellipsoid matrix"][0],
        Rotational(1.5, MATRIX),
        DYNAMICS["adam frozen frozen"],
    ),
    "half-space, alpha above 1": (TWO, BASINS["half-space"][0], Rotational(1.5, MATRIX), DYNAMICS["adam paper frozen"]),
    "half-space, alpha below 1": (TWO, BASINS["half-space"][0], Independent(0.8, MATRIX), SGD()),
    "sublevel quadratic": (TWO, Sublevel(TWO, 0.7), Rotational(1.5, MATRIX), SGD()),
    "sublevel valley": (VALLEY, Sublevel(VALLEY, 0.7), Independent(1.5, MATRIX), SGD()),
    "sublevel well": (WELL, Sublevel(WELL, 0.2), Independent(1.5, MATRIX), SGD()),
    "sublevel function": (BOWL, Sublevel(BOWL, 0.7), Independent(1.5, MATRIX), SGD()),
    "attraction well": (WELL, Attraction(WELL), Independent(1.5, MATRIX), SGD()),
}


@pytest.mark.parametrize("name", RATES)
def test_unit_rate_is_differentiable_in_every_parameter(name):
    """Against central differences, each leaf along one direction."""
    with jax.enable_x64(True):
        problem = cast(EscapeProblem(*RATES[name], 1.0), jnp.float64)
        rate = jax.jit(unit_rate)
        gradient = jax.tree.leaves(jax.jit(jax.grad(unit_rate))(problem))
        leaves, structure = jax.tree.flatten(problem)
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(problem)]
        for place, leaf in enumerate(leaves):
            direction = np.cos(1.0 + np.arange(leaf.size)).reshape(leaf.shape)
            moved = [[*leaves[:place], leaf + h * direction, *leaves[place + 1 :]] for h in (1e-5, -1e-5)]
            up, down = (float(rate(jax.tree.unflatten(structure, one))) for one in moved)
            expected = pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-7)
            assert float((gradient[place] * direction).sum()) == expected, paths[place]


class TestDynamics:
    LATE = 100  # times 2^32 steps: even of 1e-9 each, they make every average forget its start

    def setting(self, name, level, dt, size=1):
        """A state on its way, its gradient and a late driving, in float64."""
        dynamics, noise = cast((DYNAMICS[name], NOISES["independent"]), jnp.float64)
        x = points(1)[:, :1] * jnp.ones(size)
        state = jax.tree.map(lambda part: part + 0.1 * jnp.abs(x), dynamics.rest(x, noise))._replace(x=x)
        late = counters(size)._replace(high=jnp.full(size, self.LATE, jnp.uint32))
        return dynamics, noise, state, 0.7 * x, DrivingNoise(noise, jnp.asarray(level), late, jnp.asarray(dt))

    @pytest.mark.parametrize("name", [name for name in DYNAMICS if "gaussian" not in name and "stable" not in name])
    def test_a_step_without_noise_is_the_drift_to_second_order(self, name):
        with jax.enable_x64(True):
            errors = []
            for dt in (1e-3, 5e-4):
                dynamics, noise, state, gradient, driving = self.setting(name, 0.0, dt)
                stepped, drift = dynamics.sde_step(state, gradient, driving), dynamics.drift(state, gradient, noise)
                for field, rate, after in zip(state._fields, drift, stepped, strict=True):
                    if (name, field) != ("adam frozen frozen", "v"):  # which nothing reads
                        before = getattr(state, field)
                        errors.append(np.abs(np.asarray(after - before - rate * dt)).max())
        half = len(errors) // 2
        for long, short in zip(errors[:half], errors[half:], strict=True):
            assert short < 0.3 * long + 1e-13
            assert long < 1e-3

    @pytest.mark.parametrize("name", ["adam paper gaussian", "adam corrected gaussian"])
    def test_gaussian_gradient_noise_drifts_in_the_mean(self, name):
        with jax.enable_x64(True):
            dynamics, noise, state, gradient, driving = self.setting(name, 0.0, 1e-5, 20_000)
            velocity = np.asarray(dynamics.sde_step(state, gradient, driving).v - state.v) / 1e-5
            expected = np.asarray(dynamics.drift(state, gradient, noise).v)[:, 0]
        error = velocity.std(axis=1) / math.sqrt(velocity.shape[1])
        assert np.all(np.abs(velocity.mean(axis=1) - expected) < 5 * error + 1e-3 * np.abs(expected))

    @pytest.mark.parametrize("name", DYNAMICS)
    def test_noise_displaces(self, name):
        """A step's noise is `displace`, as the step becomes short."""
        with jax.enable_x64(True):
            dynamics, noise, state, gradient, driving = self.setting(name, 0.3, 1e-9)
            still = dynamics.sde_step(state, gradient, driving._replace(noise_level=jnp.asarray(0.0)))
            noisy = dynamics.sde_step(state, gradient, driving)
            displaced = dynamics.displace(state, 0.3 * noise.increment(driving.counter, driving.dt))
            for a, b, c, d in zip(noisy, still, displaced, state, strict=True):
                np.testing.assert_allclose(a - b, c - d, rtol=1e-5, atol=1e-13)

    @pytest.mark.parametrize("name", DYNAMICS)
    def test_jump_maps_are_how_far_a_jump_at_rest_goes(self, name):
        """On a flat landscape, in the end; a random preconditioner's median is of the size of the frozen one."""
        with jax.enable_x64(True):
            dynamics, noise = cast((DYNAMICS[name], NOISES["independent"]), jnp.float64)
            maps, amount = np.asarray(dynamics.jump_maps(noise)), jnp.asarray([[0.3], [-0.2]])
            x = jnp.asarray([[0.1], [0.2]])
            state = dynamics.displace(dynamics.rest(x, noise), amount)

            def move(_, state):
                return flow(dynamics, jnp.zeros_like, noise, state, 0.1)

            moved = jax.lax.fori_loop(0, 300, move, state).x - x
        assert maps.shape[1:] == (2,)
        assert np.all(maps > 0)
        if len(maps) == 1:
            np.testing.assert_allclose(moved[:, 0], maps[0] * np.asarray(amount)[:, 0], rtol=1e-9)
        else:
            assert len(maps) >= 1000
            assert np.all(np.abs(np.log(np.median(maps, axis=0) * np.asarray(noise.scale))) < math.log(4))

    def test_flow_is_of_fourth_order(self):
        errors = []
        with jax.enable_x64(True):
            for dt in (0.1, 0.05):
                dynamics, noise, state, _, _ = self.setting("momentum", 0.0, dt)
                step = partial(flow, dynamics, lambda x: x**3 + x, noise)
                errors.append(float(jnp.abs(step(state, dt).x - step(step(state, dt / 2), dt / 2).x).max()))
        assert 20 < errors[0] / errors[1] < 50


@jax.jit
def first_step(solver, problem, x, counter):
    return solver.step(problem, solver.init(problem, x), counter)


class TestSolvers:
    @pytest.mark.parametrize(("name", "method"), [("euler", "sde_step"), ("iteration", "iterate")])
    def test_a_step_is_the_optimizers(self, name, method):
        problem, solver = cast((PROBLEM, SOLVERS[name]), jnp.float32)
        x, counter = points(3), counters(3)
        time = jnp.float32(0.05) if name == "euler" else 1.0
        driving = DrivingNoise(problem.noise, problem.noise_level, counter, time)
        expected = getattr(problem.dynamics, method)(problem.dynamics.init(x), problem.landscape.gradient(x), driving)
        assert_close(solver.step(problem, solver.init(problem, x), counter), expected)
        assert float(solver.step_time(problem)) == pytest.approx(0.05 if name == "euler" else 0.1)
        assert solver.clock(expected) == ()
        assert not solver.expired(expected).any()

    def test_taming_divides_the_drift(self):
        with jax.enable_x64(True):
            problem, x, counter = cast(PROBLEM, jnp.float64), points(3), counters(3)
            plain, tamed = (
                first_step(cast(solver, jnp.float64), problem, x, counter).x for solver in (Euler(0.5), Tamed(0.5))
            )
            gradient = np.asarray(problem.landscape.gradient(x))
        drift = gradient / (1 + 0.5 * np.linalg.norm(gradient, axis=0))
        np.testing.assert_allclose(tamed - plain, 0.5 * (gradient - drift), rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("make", [partial(Euler, 0.05), partial(Tamed, 0.05), Iteration])
    def test_projection_puts_the_point_back_into_the_box(self, make):
        problem, x, counter = cast(PROBLEM, jnp.float32), points(200), counters(200)
        free, boxed = cast((make(), make(project=[[-0.5, -1.0], [0.7, 1.0]])), jnp.float32)
        far, near = (first_step(solver, problem, x, counter).x for solver in (free, boxed))
        low, high = np.array([[-0.5], [-1.0]], np.float32), np.array([[0.7], [1.0]], np.float32)
        np.testing.assert_array_equal(near, np.clip(far, low, high))
        assert (np.asarray(near) != np.asarray(far)).any()
        assert np.isnan(first_step(boxed, problem, x * math.nan, counter).x).all()

    def test_steps_of_the_jump_adapted_solver_add_up_to_max_time(self):
        with jax.enable_x64(True):
            solver = JumpAdapted().prepare(PROBLEM, 0.5)
        problem, solver = cast((PROBLEM, solver), jnp.float32)
        state = solver.init(problem, jnp.zeros((2, 8), jnp.float32))
        step = jax.jit(lambda state, counter: solver.step(problem, state, counter))
        assert solver.step_time(problem) is None
        for index in range(200):
            before = state
            state = step(state, counters(8, index))
            assert bool((sum(solver.clock(state)) >= sum(solver.clock(before))).all())
        stayed = np.asarray(problem.basin.contains(state.x))
        assert stayed.any()
        assert np.all(np.asarray(solver.expired(state))[stayed])
        np.testing.assert_allclose(np.asarray(sum(solver.clock(state)))[0, stayed], 0.5, rtol=1e-6)
