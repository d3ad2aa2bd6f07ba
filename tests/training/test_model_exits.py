"""From models of five makes to exit times, by at most five calls of the library each."""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from levyjax import tails
from levyjax.training import exits_under, gradient_noise, model_landscape, noise_models, noise_of, stable_scales

CLASSES, FEATURES = 3, 16
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(48, FEATURES)).astype(np.float32)
Y = (X[:, 0] + 0.5 * _RNG.normal(size=48) > 0).astype(np.int32) + (X[:, 1] > 0.8)
RATE, DECAY = 0.2, 0.05
NOISES = ["stable", "elliptical", "gaussian", "diagonal", "captured"]
pytestmark = pytest.mark.filterwarnings("ignore:Stable noise is made of noise that the audit calls")


@pytest.fixture(autouse=True)
def usual_types():
    with jax.numpy_dtype_promotion("standard"):
        yield


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def checked(models, landscape, exits, layers):
    assert set(models.audits) == {"all", *layers}
    assert np.linalg.norm(np.asarray(jax.grad(lambda x: landscape.value(x))(jnp.asarray(landscape.minimum)))) < 1e-5
    assert list(exits) == NOISES
    assert all(samples.exited.any() for samples in exits.values())


def few(landscape, models):
    return exits_under(landscape, models, RATE, 0.3, num_trajectories=16, max_steps=200)


class CNN(nnx.Module):
    def __init__(self, *, rngs):
        self.conv = nnx.Conv(1, 2, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(8, CLASSES, rngs=rngs)

    def __call__(self, x):
        units = nnx.tanh(self.norm(self.conv(x.reshape(-1, 4, 4, 1))))
        return self.out(self.dropout(units.reshape(len(x), -1)))


def test_a_cnn_of_flax_with_batch_norm_and_dropout():
    def loss(model, x, y):
        return cross_entropy(model(x), y).mean()

    model = CNN(rngs=nnx.Rngs(0))
    noise = gradient_noise(loss, model, X, Y, 8)
    models = noise_models(noise)
    model.eval()
    landscape = model_landscape(loss, model, X, Y, weight_decay=DECAY)
    checked(models, landscape, few(landscape, models), ["conv", "norm", "out"])
    assert noise.reference == "mean of the mini-batches"


def test_an_mlp_of_equinox():
    model = equinox.nn.MLP(FEATURES, CLASSES, 4, 1, activation=jnp.tanh, key=jax.random.key(0))

    def loss(model, x, y):
        return cross_entropy(jax.vmap(model)(x), y)

    models = noise_models(gradient_noise(loss, model, X, Y, 8))
    landscape = model_landscape(loss, model, X, Y, weight_decay=DECAY)
    checked(models, landscape, few(landscape, models), ["layers.0", "layers.1"])


def test_a_model_of_linen():
    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(CLASSES)(linen.tanh(linen.Dense(4)(x)))

    network = Network()
    params = network.init(jax.random.key(0), X[:1])["params"]

    def loss(params, x, y):
        return cross_entropy(network.apply({"params": params}, x), y).mean()

    models = noise_models(gradient_noise(loss, params, X, Y, 8))
    landscape = model_landscape(loss, params, X, Y, weight_decay=DECAY)
    checked(models, landscape, few(landscape, models), ["Dense_0", "Dense_1"])


def softmax(params, batch):
    return cross_entropy(batch["x"] @ params["kernel"] + params["bias"], batch["y"])


PLAIN = {"kernel": np.zeros((FEATURES, CLASSES), np.float32), "bias": np.zeros(CLASSES, np.float32)}


def test_a_plain_pytree():
    data = {"x": X, "y": Y}
    models = noise_models(gradient_noise(softmax, PLAIN, data, batches=8))
    landscape = model_landscape(softmax, PLAIN, data, weight_decay=DECAY)
    checked(models, landscape, few(landscape, models), ["kernel", "bias"])


def test_the_minimum_is_that_of_another_optimizer():
    """Softmax regression with a penalty is convex: SciPy's BFGS by its own gradients, in NumPy."""
    from scipy.optimize import minimize

    def loss(vector):
        bias, kernel = vector[:CLASSES], vector[CLASSES:].reshape(FEATURES, CLASSES)
        logits = X.astype(np.float64) @ kernel + bias
        ahead = logits - logits.max(axis=1, keepdims=True)
        logs = ahead - np.log(np.exp(ahead).sum(axis=1, keepdims=True))
        error = (np.exp(logs) - np.eye(CLASSES)[Y]) / len(Y)
        slope = np.concatenate([error.sum(axis=0), (X.T @ error).ravel()]) + DECAY * vector
        return -logs[np.arange(len(Y)), Y].mean() + DECAY / 2 * vector @ vector, slope

    found = minimize(loss, np.zeros(51), jac=True, options={"gtol": 1e-10}).x
    landscape = model_landscape(softmax, PLAIN, {"x": X, "y": Y}, weight_decay=DECAY)
    np.testing.assert_allclose(landscape.minimum, found, atol=1e-7)


def test_gradients_saved_by_pytorch(tmp_path):
    """As `numpy.savez(path, **{name: p.grad})`, stacked, makes them; the minimum is known to their owner."""
    kernel = np.zeros((FEATURES, CLASSES))
    batches = np.random.default_rng(1).integers(0, 48, (256, 8))
    error = (np.full((48, CLASSES), 1 / 3) - np.eye(CLASSES)[Y]).astype(np.float32)
    weights = np.stack([X[rows].T @ error[rows] / 8 for rows in batches])
    np.savez(tmp_path / "gradients.npz", **{"out.weight": weights, "out.bias": error[batches].mean(axis=1)})

    with np.load(tmp_path / "gradients.npz") as file:
        noise = noise_of(dict(file), batch_size=8)
    models = noise_models(noise)
    landscape = model_landscape(
        softmax, {"bias": np.zeros(CLASSES), "kernel": kernel}, {"x": X, "y": Y}, weight_decay=DECAY
    )
    checked(models, landscape, few(landscape, models), ["out"])
    assert noise.slices == {"out.bias": (0, 3), "out.weight": (3, 51)}
    every = gradient_noise(softmax, PLAIN, {"x": X, "y": Y}, batches=batches)
    np.testing.assert_allclose(noise.samples + noise.full_gradient, every.samples + every.full_gradient, atol=1e-6)


class TestNoises:
    def test_have_the_moments_of_the_captured_noise(self):
        noise = gradient_noise(softmax, PLAIN, {"x": X, "y": Y}, batches=8)
        models, wide = noise_models(noise), noise.samples.astype(np.float64)
        covariance = wide.T @ wide / len(wide)
        gaussian, diagonal = (np.asarray(models.models[name].scale) for name in ("gaussian", "diagonal"))
        np.testing.assert_allclose(2 * gaussian @ gaussian.T, covariance, atol=1e-12)
        np.testing.assert_allclose(2 * diagonal**2, np.diag(covariance), rtol=1e-12)
        np.testing.assert_allclose(models.variance, np.diag(covariance), rtol=1e-12)
        np.testing.assert_allclose(models.models["captured"].samples, wide - wide.mean(axis=0), atol=1e-12)

    @pytest.mark.filterwarnings("default")
    def test_of_a_finite_variance_are_doubted_with_the_reason(self):
        rng = np.random.default_rng(0)
        light = rng.normal(size=(300, 30)) * rng.lognormal(size=(300, 30))
        audit = tails.audit(light, center=False)
        assert audit.verdict != "stable"
        with pytest.warns(UserWarning, match=f"the audit calls {audit.verdict}: its exits may be far too soon") as told:
            fit = stable_scales(light, audit=audit)
        assert str(told[0].message).endswith(audit.reasons[-1])
        assert fit.warnings[-1] == str(told[0].message)

    @pytest.mark.filterwarnings("error")
    def test_that_are_stable_are_not(self):
        draws = np.random.default_rng(0).standard_cauchy((300, 60))
        noise = noise_of(draws, batch_size=1, full_gradient=np.zeros(60))
        assert noise_models(noise).audits["all"].verdict == "stable"

    def test_refusals(self):
        with pytest.raises(ValueError, match="10 mini-batches show no scales"):
            noise_models(noise_of(np.random.default_rng(0).normal(size=(10, 3)), batch_size=1))
        with pytest.raises(ValueError, match="zero in every mini-batch"):
            noise_models(noise_of(np.zeros((60, 3)), batch_size=1))
        with pytest.raises(ValueError, match=r"model\.eval\(\)"):
            model_landscape(lambda m, x, y: cross_entropy(m(x), y), CNN(rngs=nnx.Rngs(0)), X, Y)
