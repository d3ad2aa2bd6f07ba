"""Well-known optax transformations through `from_optax`, step by step beside optax's own loop on one trajectory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from levyjax.arrays import cast
from levyjax.basins import Box
from levyjax.dynamics import DrivingNoise, from_optax
from levyjax.escape import EscapeProblem, Plan, simulate
from levyjax.landscapes import Quadratic, from_drift
from levyjax.noise import Independent
from levyjax.random import Counter
from levyjax.solvers import Iteration

LANES, STEPS, LEVEL = 2, 24, 0.1
SCHEDULE = optax.exponential_decay(0.1, 50, 0.5)
RISING = optax.linear_schedule(0.5, 0.9, 10)
RESTARTS = [{"init_value": 0.0, "peak_value": 0.2, "warmup_steps": 2, "decay_steps": 10, "end_value": 0.01}] * 3
LAYERS = {"a": jnp.zeros(()), "b": jnp.zeros(2), "c": jnp.zeros((2, 3))}  # 9 numbers
MATRICES = {"b": jnp.zeros(3), "c": jnp.zeros((2, 3))}
LABELS = {"a": "fast", "b": "slow", "c": "fast"}
ONE_BY_ONE = {f"x{i}": jnp.zeros(()) for i in range(9)}
PLATEAU = contrib.reduce_on_plateau(factor=0.5, patience=2, cooldown=1)
RUN = {  # name: transformation, and the form of its parameters
    "sgd": (optax.sgd(0.05), None),
    "momentum": (optax.sgd(0.05, momentum=0.9), None),
    "nesterov": (optax.sgd(0.05, momentum=0.9, nesterov=True), None),
    "adam": (optax.adam(0.1), None),
    "nadam": (optax.nadam(0.1), None),
    "nadamw": (optax.nadamw(0.1), None),
    "adamw": (optax.adamw(0.1, mask={"a": True, "b": False, "c": True}), LAYERS),
    "adamax": (optax.adamax(0.1), None),
    "adamaxw": (optax.adamaxw(0.1), None),
    "adabelief": (optax.adabelief(0.1), None),
    "adadelta": (optax.adadelta(1.0), None),
    "adafactor": (optax.adafactor(0.1, min_dim_size_to_factor=2), LAYERS),
    "adagrad": (optax.adagrad(0.1), None),
    "adan": (optax.adan(0.1), None),
    "amsgrad": (optax.amsgrad(0.1), None),
    "fromage": (optax.fromage(0.1), LAYERS),
    "lamb": (optax.lamb(0.1), LAYERS),
    "lars": (optax.lars(0.1), LAYERS),
    "lion": (optax.lion(0.02), None),
    "noisy_sgd": (optax.noisy_sgd(0.05, key=3), LAYERS),
    "novograd": (optax.novograd(0.1), LAYERS),
    "optimistic_adam": (optax.optimistic_adam_v2(0.1), None),
    "optimistic_gradient_descent": (optax.optimistic_gradient_descent(0.1), None),
    "polyak_sgd": (optax.polyak_sgd(max_learning_rate=0.5), None),
    "radam": (optax.radam(0.1), None),
    "rmsprop": (optax.rmsprop(0.02, momentum=0.5, centered=True), None),
    "rprop": (optax.rprop(0.02), None),
    "sign_sgd": (optax.sign_sgd(0.02), None),
    "signum": (optax.signum(0.02), None),
    "sm3": (optax.sm3(0.1), MATRICES),
    "yogi": (optax.yogi(0.1), None),
    "lbfgs": (optax.lbfgs(), None),
    "backtracking": (optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(8)), LAYERS),
    "schedule": (optax.sgd(SCHEDULE, momentum=0.5), None),
    "momentum_schedule": (optax.inject_hyperparams(optax.sgd)(SCHEDULE, momentum=RISING), None),
    "restarts": (optax.sgd(optax.sgdr_schedule(RESTARTS)), None),
    "injected": (optax.inject_hyperparams(optax.adam)(SCHEDULE), None),
    "add_noise": (optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1)), None),
    "clipped": (optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)), None),
    "lookahead": (optax.lookahead(optax.sgd(0.1, momentum=0.5), 5, 0.5), LAYERS),
    "MultiSteps": (optax.MultiSteps(optax.adam(0.1), 3), None),
    "masked": (optax.chain(optax.masked(optax.clip(0.01), {"a": True, "b": False, "c": True}), optax.sgd(0.1)), LAYERS),
    "multi_transform": (optax.multi_transform({"fast": optax.adam(0.1), "slow": optax.sgd(0.01)}, LABELS), LAYERS),
    "coordinates": (
        optax.partition(
            {"on": optax.sgd(0.1), "off": optax.set_to_zero()}, {k: "off" if k == "x1" else "on" for k in ONE_BY_ONE}
        ),
        ONE_BY_ONE,
    ),
    "apply_if_finite": (optax.apply_if_finite(optax.adam(0.1), 3), None),
    "reduce_on_plateau": (optax.chain(optax.adam(0.1), PLATEAU), None),
    "schedule_free": (contrib.schedule_free_sgd(0.1, warmup_steps=3), None),
    "schedule_free_adamw": (contrib.schedule_free_adamw(0.1), None),
    "prodigy": (contrib.prodigy(0.1), None),
    "dadapt_adamw": (contrib.dadapt_adamw(0.1), None),
    "momo": (contrib.momo(0.5), None),
    "muon": (contrib.muon(0.1), LAYERS),
    "sam": (contrib.sam(optax.sgd(0.1), optax.chain(contrib.normalize(), optax.sgd(0.05)), sync_period=2), None),
    "cocob": (contrib.cocob(), None),
    "mechanize": (contrib.mechanize(optax.sgd(0.1)), None),
}


def counter(step):
    lanes = jnp.arange(LANES, dtype=jnp.uint32)
    zero = jnp.zeros_like(lanes)
    return Counter(lanes, zero + 7, zero + step, zero)


def own_key(leaf, lane):
    """The key of a trajectory, (id, seed) folded in, where a leaf of the state is one."""
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return jax.random.fold_in(jax.random.fold_in(leaf, lane), 7)


def plain_loop(transformation, form, gradient, value, without_more):
    """A loop as optax's documentation has it, on one trajectory; the vector is put in leaves by hand."""
    if isinstance(transformation, optax.MultiSteps):
        transformation = transformation.gradient_transformation()
    transformation = optax.with_extra_args_support(transformation)

    def tree_of(x):
        if form is None:
            return x
        leaves, place = [], 0
        for leaf in jax.tree.leaves(form):
            leaves.append(x[place : place + leaf.size].reshape(leaf.shape))
            place += leaf.size
        return jax.tree.unflatten(jax.tree.structure(form), leaves)

    def vector_of(tree):
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])

    def run(start, noise, lane, looks_ahead):
        parameters = tree_of(start)
        if looks_ahead:
            parameters = optax.LookaheadParams.init_synced(parameters)
        state = jax.tree.map(lambda leaf: own_key(jnp.asarray(leaf), lane), transformation.init(parameters))

        def step(carry, u):
            parameters, state = carry
            x = vector_of(parameters.fast if looks_ahead else parameters)
            updates = tree_of(gradient(x) + u)
            more = {
                "value": value(x),
                "grad": updates,
                "value_fn": lambda tree: value(vector_of(tree)) + u @ (vector_of(tree) - x),
            }
            updates, after = transformation.update(updates, state, parameters, **({} if without_more else more))
            parameters = optax.apply_updates(parameters, updates)
            state = jax.tree.map(
                lambda old, new: new if jnp.issubdtype(new.dtype, jax.dtypes.prng_key) else new.astype(old.dtype),
                state,
                after,
            )
            return (parameters, state), vector_of(parameters.fast if looks_ahead else parameters)

        return jax.lax.scan(step, (parameters, state), noise)[1]

    return run


@pytest.mark.parametrize("name", RUN)
def test_steps_are_those_of_a_plain_optax_loop(name):
    """Rounding alone is between them: 24 steps in float64, within 1e-9."""
    transformation, form = RUN[name]
    curvature = np.linspace(0.5, 2.0, 9)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        dynamics = from_optax(transformation, parameters=form)
        landscape, noise = cast((Quadratic(curvature), Independent(1.5, np.full(9, 1.0))), jnp.float64)
        start = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (9, LANES)))

        def step(state, number):
            driving = DrivingNoise(noise, jnp.asarray(LEVEL), counter(number), 1.0)
            state = dynamics.iterate_on(landscape, state, driving)
            return state, (state.x, driving.draw())

        def ours(start):
            return jax.lax.scan(step, dynamics.init(start), jnp.arange(STEPS, dtype=jnp.uint32))[1]

        found, draws = jax.jit(ours)(start)
        run = plain_loop(
            transformation, form, lambda x: curvature * x, lambda x: (curvature * x**2).sum() / 2, name == "sam"
        )
        plain = jax.jit(run, static_argnums=3)
        expected = [plain(start[:, lane], draws[..., lane], lane, name == "lookahead") for lane in range(LANES)]
    assert found.dtype == jnp.float64
    assert (np.asarray(found[-1]) != np.asarray(start)).any()
    np.testing.assert_allclose(found, np.stack(expected, axis=-1), rtol=1e-9, atol=1e-9)


def problem_of(dynamics, landscape=None):
    ones = [1.0] * 2
    landscape = Quadratic(ones) if landscape is None else landscape
    return EscapeProblem(landscape, Box([-1.0] * 2, ones), Independent(1.5, ones), dynamics, 1.0)


PLAN = Plan(Iteration(), 64, max_time=40.0)


@pytest.mark.parametrize(
    ("transformation", "form", "words"),
    [
        (
            contrib.differentially_private_aggregate(1.0, 1.0, key=0),
            None,
            "does not take the vector of all coordinates",
        ),
        (contrib.sophia(0.1), None, "does not take the vector"),
        (optax.sm3(0.1), {"a": 0.0, "b": 0.0}, "does not take parameters of this form"),
        (optax.masked(optax.sgd(0.1), {"a": True, "b": False}), None, r"give from_optax\(..., parameters=...\)"),
        (optax.sgd(0.1), jnp.zeros(3), "parameters hold 3 numbers, and points have 2 coordinates"),
    ],
    ids=["dpsgd", "sophia", "sm3", "masked", "size"],
)
def test_what_cannot_run_is_refused(transformation, form, words):
    with pytest.raises(ValueError, match=words):
        simulate(problem_of(from_optax(transformation, parameters=form)), PLAN, 0)


def test_what_needs_a_loss_is_refused_where_there_is_none():
    rotating = from_drift(lambda x: jnp.stack([-x[0] + x[1], -x[0] - x[1]]), [0.0, 0.0])
    with pytest.raises(ValueError, match=r"asks for more than there is .*'value'.* Take one that goes without"):
        simulate(problem_of(from_optax(optax.polyak_sgd()), rotating), PLAN, 0)
    assert simulate(problem_of(from_optax(optax.adam(0.1)), rotating), PLAN, 0).exited.any()


@pytest.mark.parametrize("leaf", [1, jnp.zeros(2, jnp.int32)])
def test_parameters_are_floating_arrays(leaf):
    with pytest.raises(ValueError, match="pytree of floating arrays"):
        from_optax(optax.sgd(0.1), parameters={"a": leaf})
    with pytest.raises(ValueError, match="without arrays"):
        from_optax(optax.sgd(0.1), parameters={})


@pytest.mark.parametrize("name", ["lbfgs", "lookahead", "MultiSteps", "reduce_on_plateau", "polyak_sgd", "noisy_sgd"])
def test_float32_simulates(name):
    """Types of the state stay what they were, and lanes that are filled again start anew."""
    found = simulate(problem_of(from_optax(RUN[name][0])), PLAN, 0)
    assert np.isfinite(found.exit_position).all()


def test_a_grid_of_learning_rates_is_one_program(programs):
    """24 rates and momenta, a plateau and labels by coordinate: compiled with the first of them."""

    def make(rate, momentum):
        parts = {"on": optax.sgd(rate, momentum), "off": optax.sgd(0.01)}
        return optax.chain(optax.partition(parts, {"a": "on", "b": "off"}), PLATEAU)

    form, ends = {"a": 0.0, "b": 0.0}, []
    for place, rate in enumerate(np.geomspace(0.01, 0.5, 24)):
        numbers = {"rate": rate, "momentum": 0.5 + 0.01 * place}
        found = simulate(problem_of(from_optax(make, hyperparameters=numbers, parameters=form)), PLAN, 0)
        ends.append(found.exit_position.sum())
        assert not programs or place == 0, programs
        programs.clear()
    assert len(set(ends)) == 24


def test_hyperparameters_that_are_no_numbers():
    """Booleans are part of the program, as optax decides by them; floats that it decides by are refused."""
    numbers = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}
    ours, plain = (
        simulate(problem_of(from_optax(*arguments)), PLAN, 0)
        for arguments in ((optax.sgd, None, numbers), (optax.sgd(**numbers),))
    )
    np.testing.assert_array_equal(ours.exit_step, plain.exit_step)
    with pytest.raises(ValueError, match=r"functools\.partial\(make, name=value\)"):
        simulate(problem_of(from_optax(contrib.reduce_on_plateau, hyperparameters={"factor": 0.5})), PLAN, 0)
