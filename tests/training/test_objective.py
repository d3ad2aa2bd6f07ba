"""Gradient noise of models of any make, against brute force mini-batch by mini-batch."""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from levyjax import tails
from levyjax.training import draw_batches, flatten, gradient_noise, noise_statistics, per_example_noise, stable_scales

N, CLASSES = 1001, 3
_RNG = np.random.default_rng(0)
IMAGES = _RNG.normal(size=(N, 6, 6, 1)).astype(np.float32)
ROWS = IMAGES.reshape(N, -1)
LABELS = _RNG.integers(0, CLASSES, N).astype(np.int32)
BATCHES = draw_batches(N, 16, 24, seed=1)


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


class CNN(nnx.Module):
    def __init__(self, *, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.4, rngs=rngs)
        self.out = nnx.Linear(4, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.norm(self.conv(x))).mean((1, 2))))


def of_each(model, x, y):
    return cross_entropy(model(x), y)


def of_mean(model, x, y):
    return of_each(model, x, y).mean()


def by_flax(model, x, y):
    """The gradient (d,) as a user of flax takes it, in the order of the slices."""
    gradient = nnx.grad(of_mean, argnums=nnx.DiffState(0, nnx.Param))(model, x, y)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])


@pytest.fixture(autouse=True)
def usual_types():
    """The types that a user has: optax and flax mix them."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def reseeded(model, fold):
    """A copy whose random streams have keys that are a function of the old ones."""
    copy = nnx.clone(model)
    for _, stream in nnx.iter_graph(copy):
        if isinstance(stream, nnx.RngKey):
            stream[...] = fold(stream[...])
    return copy


class TestBatchNormAndDropout:
    @pytest.mark.parametrize("loss", [of_each, of_mean])
    def test_in_training_they_equal_brute_force_batch_by_batch(self, loss):
        model = CNN(rngs=nnx.Rngs(0))
        model.train()
        noise = gradient_noise(loss, model, IMAGES, LABELS, BATCHES)
        for index, rows in enumerate(BATCHES):
            drawn = reseeded(model, lambda key, index=index: jax.random.fold_in(key, index))
            brute = by_flax(drawn, IMAGES[rows], LABELS[rows])
            ours = noise.samples[index].astype(np.float64) + noise.full_gradient
            np.testing.assert_allclose(ours, brute, atol=2e-7)
        assert noise.reference == "mean of the mini-batches"
        assert np.abs(noise.samples.mean(axis=0, dtype=np.float64)).max() < 1e-8
        assert list(noise.slices) == ["conv.bias", "conv.kernel", "norm.bias", "norm.scale", "out.bias", "out.kernel"]

    def test_dropout_is_drawn_anew_for_each_mini_batch_and_by_the_key(self):
        model = CNN(rngs=nnx.Rngs(0))
        same = np.repeat(BATCHES[:1], 8, axis=0)
        first = gradient_noise(of_each, model, IMAGES, LABELS, same, key=1)
        again = gradient_noise(of_each, model, IMAGES, LABELS, same, key=jax.random.key(1))
        other = gradient_noise(of_each, model, IMAGES, LABELS, same, key=2)
        np.testing.assert_array_equal(first.samples, again.samples)
        assert np.abs(first.samples - other.samples).max() > 1e-3
        assert len(np.unique(first.samples[:, 0])) == 8

    def test_batch_norm_alone_has_no_full_gradient(self):
        model = CNN(rngs=nnx.Rngs(0))
        model.dropout.deterministic = True
        for loss in (of_each, of_mean):
            noise = gradient_noise(loss, model, IMAGES, LABELS, BATCHES)
            brute = np.array([by_flax(model, IMAGES[rows], LABELS[rows]) for rows in BATCHES], np.float64)
            np.testing.assert_allclose(noise.full_gradient, brute.mean(axis=0), atol=1e-7)
            np.testing.assert_allclose(noise.samples, brute - brute.mean(axis=0), atol=3e-7)
            assert noise.reference == "mean of the mini-batches"

    @pytest.mark.parametrize("loss", [of_each, of_mean])
    def test_in_evaluation_the_full_gradient_is_that_of_all_examples(self, loss):
        """1001 examples: one more than are summed at a time."""
        model = CNN(rngs=nnx.Rngs(0))
        model.eval()
        noise = gradient_noise(loss, model, IMAGES, LABELS, BATCHES)
        assert noise.reference == "all examples"
        np.testing.assert_allclose(noise.full_gradient, by_flax(model, IMAGES, LABELS), atol=2e-7)

    def test_statistics_are_those_of_the_samples(self):
        model = CNN(rngs=nnx.Rngs(0))
        noise = gradient_noise(of_mean, model, IMAGES, LABELS, BATCHES)
        found = noise_statistics(of_mean, model, IMAGES, LABELS, BATCHES)
        np.testing.assert_allclose(found.full_gradient, noise.full_gradient, atol=1e-8)
        np.testing.assert_allclose(found.second_moment, (noise.samples.astype(np.float64) ** 2).mean(0), rtol=1e-4)
        assert found.reference == noise.reference
        assert list(found.layers) == ["all", *noise.slices]

    def test_no_noise_of_single_examples(self):
        with pytest.raises(ValueError, match="no gradient of a single one"):
            per_example_noise(of_each, CNN(rngs=nnx.Rngs(0)), IMAGES, LABELS)

    def test_the_model_stays_as_it_is(self):
        model = CNN(rngs=nnx.Rngs(0))
        before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, (nnx.BatchStat, nnx.RngCount))))
        gradient_noise(of_mean, model, IMAGES, LABELS, BATCHES[:2])
        after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, (nnx.BatchStat, nnx.RngCount))))
        jax.tree.map(np.testing.assert_array_equal, before, after)

    def test_a_flat_model_keeps_batch_statistics_apart_and_refuses_dropout(self):
        model = CNN(rngs=nnx.Rngs(0))
        flat = flatten(model)
        with pytest.raises(ValueError, match="draws random numbers with a key of its own"):
            gradient_noise(flat.losses, flat.parameters, IMAGES, LABELS, BATCHES)
        model.dropout.deterministic = True
        flat = flatten(model)
        noise = gradient_noise(flat.losses, flat.parameters, IMAGES, LABELS, BATCHES)
        np.testing.assert_array_equal(noise.samples, gradient_noise(of_each, model, IMAGES, LABELS, BATCHES).samples)

    def test_linen_with_its_state_and_a_key(self):
        class Network(linen.Module):
            @linen.compact
            def __call__(self, x):
                x = linen.BatchNorm(use_running_average=False)(linen.Dense(5)(x))
                return linen.Dense(CLASSES)(linen.Dropout(0.3, deterministic=False)(linen.relu(x)))

        network = Network()
        variables = network.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, ROWS[:2])

        def loss(params, x, y, *, state, key):
            logits, new = network.apply(
                {"params": params, "batch_stats": state}, x, mutable=["batch_stats"], rngs={"dropout": key}
            )
            return cross_entropy(logits, y).mean(), new

        params, state, key = variables["params"], variables["batch_stats"], jax.random.key(7)
        noise = gradient_noise(loss, params, ROWS, LABELS, BATCHES, state=state, key=key)
        gradients = [
            jax.grad(loss, has_aux=True)(params, ROWS[rows], LABELS[rows], state=state, key=jax.random.fold_in(key, i))[
                0
            ]
            for i, rows in enumerate(BATCHES)
        ]
        brute = np.array([np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one)]) for one in gradients])
        np.testing.assert_allclose(noise.samples, brute - brute.mean(axis=0, dtype=np.float64), atol=3e-7)
        assert list(noise.slices)[:2] == ["BatchNorm_0.bias", "BatchNorm_0.scale"]


def linear(w, x, y):
    return (x @ w["kernel"] + w["bias"] - y) ** 2


WEIGHTS = {"kernel": jnp.full(36, 0.1), "bias": jnp.zeros(())}
TARGETS = LABELS.astype(np.float32)


def linear_noise(rows=BATCHES):
    """By hand in float64, (bias, kernel)."""
    error = 2 * (ROWS.astype(np.float64) @ np.full(36, np.float64(np.float32(0.1))) - TARGETS)[:, None]
    each = np.concatenate([error, error * ROWS], axis=1)
    return each[rows].mean(axis=1) - each.mean(axis=0)


CALLS = {
    "each": lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS, BATCHES),
    "mean": lambda: gradient_noise(lambda w, x, y: linear(w, x, y).mean(), WEIGHTS, ROWS, TARGETS, BATCHES),
    "with more": lambda: gradient_noise(lambda w, x, y: (linear(w, x, y), "more"), WEIGHTS, ROWS, TARGETS, BATCHES),
    "x is a dict": lambda: gradient_noise(
        lambda w, batch: linear(w, batch["x"], batch["y"]), WEIGHTS, {"x": ROWS, "y": TARGETS}, batches=BATCHES
    ),
    "x is a tuple, y None": lambda: gradient_noise(
        lambda w, batch, y: linear(w, *batch), WEIGHTS, (ROWS, TARGETS), None, BATCHES
    ),
    "one batch": lambda: gradient_noise(lambda w, batch: linear(w, *batch), WEIGHTS, ROWS, TARGETS, BATCHES),
    "weight decay": lambda: gradient_noise(
        lambda w, x, y: linear(w, x, y).mean() + 5 * (w["kernel"] ** 2).sum(), WEIGHTS, ROWS, TARGETS, BATCHES
    ),
    "a key that is not used": lambda: gradient_noise(
        lambda w, x, y, key: linear(w, x, y), WEIGHTS, ROWS, TARGETS, BATCHES, key=0
    ),
    "numbers as parameters": lambda: gradient_noise(
        linear, {"kernel": np.full(36, 0.1), "bias": 0.0}, ROWS, TARGETS, BATCHES
    ),
    "whole numbers beside": lambda: gradient_noise(
        linear, WEIGHTS | {"steps": jnp.int32(3), "name": "a"}, ROWS, TARGETS, BATCHES
    ),
}


class TestAnyCall:
    @pytest.mark.parametrize("name", CALLS)
    def test_is_the_noise_by_hand(self, name):
        noise = CALLS[name]()
        np.testing.assert_allclose(noise.samples, linear_noise(), atol=1e-5)
        assert noise.slices == {"bias": (0, 1), "kernel": (1, 37)}
        assert noise.reference == "all examples"

    @pytest.mark.parametrize("of", [list, iter, lambda batches: map(tuple, batches)])
    def test_a_loader_is_centred_by_its_mean(self, of):
        loader = of([(ROWS[rows], TARGETS[rows]) for rows in BATCHES])
        noise = gradient_noise(lambda w, x, y: linear(w, x, y).mean(), WEIGHTS, loader)
        by_hand = linear_noise()
        np.testing.assert_allclose(noise.samples, by_hand - by_hand.mean(axis=0), atol=1e-5)
        assert (noise.reference, noise.batch_size) == ("mean of the mini-batches", 16)

    @pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
    def test_halves_are_computed_in_float32(self, dtype):
        half = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), WEIGHTS)
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
        noise = gradient_noise(linear, half, jnp.asarray(ROWS, dtype), TARGETS, BATCHES)
        expected = gradient_noise(linear, wide, jnp.asarray(ROWS, dtype).astype(jnp.float32), TARGETS, BATCHES)
        assert noise.samples.dtype == np.float32
        np.testing.assert_array_equal(noise.samples, expected.samples)

    def test_equinox_settings_are_no_parameters(self):
        model = equinox.nn.Sequential(
            [equinox.nn.MLP(36, CLASSES, 8, 1, key=jax.random.key(0)), equinox.nn.Dropout(0.0, inference=True)]
        )
        noise = gradient_noise(lambda model, x, y: cross_entropy(jax.vmap(model)(x), y), model, ROWS, LABELS, BATCHES)
        assert noise.samples.shape == (24, 36 * 8 + 8 + 8 * CLASSES + CLASSES)
        assert next(iter(noise.slices)) == "layers.0.layers.0.weight"

    def test_float64(self):
        with jax.enable_x64(True):
            weights = {"kernel": np.full(36, np.float64(np.float32(0.1))), "bias": np.zeros(())}
            noise = gradient_noise(linear, weights, ROWS.astype(np.float64), TARGETS.astype(np.float64), BATCHES)
        np.testing.assert_allclose(noise.samples, linear_noise(), atol=1e-13)

    def test_a_second_capture_compiles_nothing(self, programs):
        gradient_noise(linear, WEIGHTS, ROWS, TARGETS, BATCHES)
        programs.clear()
        moved = jax.tree.map(lambda leaf: leaf + np.float32(0.5), WEIGHTS)
        programs.clear()
        gradient_noise(linear, moved, ROWS, TARGETS, BATCHES)
        assert programs == []


def refused(words, call):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


REFUSALS = {
    "no batches": ("batches are missing", lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS)),
    "data for a loader": ("batches are missing", lambda: gradient_noise(linear, WEIGHTS, (ROWS, TARGETS))),
    "lengths": (r"x 1001, y 1000", lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS[:-1], BATCHES)),
    "shape": (
        r"shape \(16, 36\) for a mini-batch of 16 examples",
        lambda: gradient_noise(lambda w, x, y: x * w["kernel"], WEIGHTS, ROWS, TARGETS, BATCHES),
    ),
    "a loss that fails": (
        "the loss fails on a mini-batch of float32",
        lambda: gradient_noise(lambda w, x, y: w["kernel"][:5] @ x, WEIGHTS, ROWS, TARGETS, BATCHES),
    ),
    "sum": (
        "it is their sum",
        lambda: gradient_noise(lambda w, x, y: linear(w, x, y).sum(), WEIGHTS, ROWS, TARGETS, BATCHES),
    ),
    "sum beside a penalty": (
        "it is their sum",
        lambda: gradient_noise(lambda w, x, y: 1e4 + linear(w, x, y).sum(), WEIGHTS, ROWS, TARGETS, BATCHES),
    ),
    "sum with dropout": (
        "it is their sum",
        lambda: gradient_noise(
            lambda w, x, y, key: linear(w, x * jax.random.bernoulli(key, 0.5, x.shape), y).sum(),
            WEIGHTS, ROWS, TARGETS, BATCHES, key=0,
        ),
    ),
    "sum of batches that come": (
        "it is their sum",
        lambda: gradient_noise(lambda w, x, y: linear(w, x, y).sum(), WEIGHTS, [(ROWS[:8], TARGETS[:8])] * 3),
    ),
    "frozen dropout": (
        "key of its own",
        lambda: gradient_noise(
            lambda w, x, y: linear(w, x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), y),
            WEIGHTS, ROWS, TARGETS, BATCHES,
        ),
    ),
    "no parameters": ("hold no floating-point", lambda: gradient_noise(linear, {"a": 1}, ROWS, TARGETS, BATCHES)),
    "key": ("no random key", lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS, BATCHES, key="a")),
    "unused key": ("the loss takes none", lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS, BATCHES, key=0)),
    "unused state": ("the loss takes none", lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS, BATCHES, state=0)),
    "words": ("holds no numbers", lambda: gradient_noise(linear, WEIGHTS, ROWS, np.array(["a"] * N), BATCHES)),
    "a number": ("x is a single number", lambda: gradient_noise(linear, WEIGHTS, 3.0, TARGETS, BATCHES)),
    "sizes": (
        "mini-batch 1 has arrays",
        lambda: gradient_noise(linear, WEIGHTS, [(ROWS[:3], TARGETS[:3]), (ROWS[:2], TARGETS[:2])]),
    ),
    "one mini-batch": ("1 mini-batches show no noise", lambda: gradient_noise(linear, WEIGHTS, [(ROWS, TARGETS)])),
    "complex": ("is complex", lambda: gradient_noise(linear, {"kernel": 1j * np.ones(3)}, ROWS, TARGETS, BATCHES)),
    "all variables of linen": (
        "batch_stats",
        lambda: gradient_noise(linear, {"params": WEIGHTS, "batch_stats": WEIGHTS}, ROWS, TARGETS, BATCHES),
    ),
    "an index too far": ("indices from 0 to 1001", lambda: gradient_noise(linear, WEIGHTS, ROWS, TARGETS, [[0, N]])),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_say_what_was_given(name):
    refused(*REFUSALS[name])


@pytest.mark.parametrize(
    "name", [name for name in REFUSALS if name not in ("sizes", "one mini-batch") and "sum" not in name]
)
def test_refused_before_anything_is_compiled(name, programs):
    programs.clear()
    refused(*REFUSALS[name])
    ours = [program for program in programs if "_gradient" in program or "_values" in program]
    assert ours == []


class TestScalesOfOnesOwnGradients:
    def test_of_an_array_are_those_of_the_noise(self):
        """The gradients have a mean, which is taken away; their index is within 0.06, 7 standard errors."""
        from levyjax import stable

        scales = np.array([1.0, 0.01, 5.0, 0.0])
        gradients = np.asarray(stable.sample(1, 1.4, (4000, 4)), np.float64) * scales + [100.0, -3.0, 0.0, 7.0]
        fit = stable_scales(gradients)
        assert fit.alpha == pytest.approx(1.4, abs=0.06)
        np.testing.assert_allclose(fit.scales, scales, rtol=0.1)
        assert fit.num_dead == 1

    def test_of_statistics(self):
        noise = gradient_noise(linear, WEIGHTS, ROWS, TARGETS, draw_batches(N, 4, 400))
        found = noise_statistics(linear, WEIGHTS, ROWS, TARGETS, draw_batches(N, 4, 400))
        fit, expected = stable_scales(found), stable_scales(noise)
        assert fit.alpha == pytest.approx(expected.alpha, abs=0.1)
        at_one = [one.scales / np.exp(-np.euler_gamma * (1 / one.alpha - 1)) for one in (fit, expected)]
        np.testing.assert_allclose(*at_one, rtol=1e-3)

    @pytest.mark.parametrize("bad", [np.zeros((60, 2, 2)), np.full((60, 2), np.nan), [["a"]] * 60, np.ones((10, 3))])
    def test_refuses(self, bad):
        with pytest.raises(ValueError, match=r"noise has|noise holds|mini-batches show"):
            stable_scales(bad)


def test_the_audit_takes_bfloat16():
    values = jnp.asarray(np.random.default_rng(0).normal(size=(200, 40)), jnp.bfloat16)
    assert tails.audit(np.asarray(values)).verdict == tails.audit(np.asarray(values, np.float32)).verdict
