"""Curvature without matrices against dense Hessians, and least paths against known saddles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from flax import nnx

from levyjax.training import MLP, flatten, load
from levyjax.training.curvature import (
    hessian_pairs,
    hessian_product,
    hessian_trace,
    loss_along,
    mean_loss,
    noise_alignment,
)
from levyjax.training.paths import least_path, line_path


@pytest.fixture(scope="module")
def net():
    """A tanh network of 4-5-3 units on 1030 examples, its loss in two chunks, and its dense Hessian in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(1_030, 4)), rng.integers(0, 3, 1_030).astype(np.int32)
        flat = flatten(MLP((4, 5, 3), rngs=nnx.Rngs(0), activation="tanh"))
        point = jnp.asarray(np.asarray(flat.parameters, np.float64) + 0.3 * rng.normal(size=flat.parameters.size))
        loss = mean_loss(flat.losses, x, y)
        whole = jax.hessian(lambda p: flat.losses(p, jnp.asarray(x), jnp.asarray(y)).mean())(point)
        yield loss, point, np.asarray(whole), flat, (x, y)


@pytest.fixture(scope="module")
def softmax():
    """Softmax regression on 200 of scikit-learn's digits, and its Hessian's eigenvalues at 0 in decreasing order."""
    digits = load("digits")
    x, y = digits.train_x[:200].astype(np.float64), digits.train_y[:200]

    def losses(w, x, y):
        logits = x @ w.reshape(x.shape[1], 10)
        return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]

    def loss(w):
        return losses(w, jnp.asarray(x, w.dtype), jnp.asarray(y)).mean()

    inputs = np.linalg.eigvalsh(x.T @ x / len(x)) / 10
    values = np.concatenate([np.repeat(inputs, 9), np.zeros(64)])
    return loss, np.sort(values)[::-1]


class TestCurvature:
    def test_the_mean_loss_counts_every_example_once(self, net):
        loss, point, _, flat, (x, y) = net
        with jax.enable_x64(True):
            assert float(loss(point)) == pytest.approx(float(flat.losses(point, x, y).mean()), rel=1e-12)

    def test_products_are_those_of_the_dense_hessian(self, net):
        loss, point, dense, *_ = net
        vector = np.random.default_rng(1).normal(size=point.size)
        with jax.enable_x64(True):
            found = hessian_product(loss, point, jnp.asarray(vector))
        np.testing.assert_allclose(found, dense @ vector, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("end", ["largest", "smallest"])
    def test_pairs_are_those_of_the_dense_hessian(self, net, end):
        loss, point, dense, *_ = net
        values, vectors = np.linalg.eigh(dense)
        order = slice(None, -5, -1) if end == "largest" else slice(4)
        with jax.enable_x64(True):
            found = hessian_pairs(loss, point, 4, end=end, tolerance=1e-10)
        np.testing.assert_allclose(found.values, values[order], rtol=1e-7, atol=1e-10)
        assert (np.abs((found.vectors * vectors[:, order]).sum(axis=0)) > 1 - 1e-6).all()
        assert (found.residuals < 1e-7).all()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize(("end", "count"), [("largest", 5), ("largest", 20), ("smallest", 20)])
    def test_repeated_eigenvalues_come_as_often_as_they_are(self, softmax, end, count, dtype):
        """Softmax regression at w = 0: the Hessian is (I - 11'/10)/10 times X'X/n, each eigenvalue 9 times and 0."""
        loss, values = softmax
        expected = (values if end == "largest" else values[::-1])[:count]
        with jax.enable_x64(dtype == np.float64):
            found = hessian_pairs(loss, np.zeros(values.size, dtype), count, end=end)
        np.testing.assert_allclose(found.values, expected, atol=1e-4 * values[0])
        assert np.abs(found.values - expected).max() <= found.error < 1e-3 * values[0]
        assert found.next_value == pytest.approx((values if end == "largest" else values[::-1])[count], abs=1e-3)
        np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(count), atol=1e-5)

    @pytest.mark.parametrize("count", [1, 3, 4])
    def test_all_eigenvalues_equal(self, count):
        found = hessian_pairs(lambda p: 1.5 * (p**2).sum(), jnp.zeros(5), count, end="smallest")
        np.testing.assert_allclose(found.values, 3.0, rtol=1e-5)
        assert found.next_value == pytest.approx(3.0, rel=1e-5)

    def test_single_precision_is_kept(self, net):
        _, point, dense, flat, (x, y) = net
        loss = mean_loss(flat.losses, x.astype(np.float32), y)
        found = hessian_pairs(loss, np.asarray(point, np.float32), 2)
        assert found.vectors.dtype == np.float32
        np.testing.assert_allclose(found.values, np.linalg.eigvalsh(dense)[:-3:-1], rtol=1e-4)

    def test_the_trace_is_within_its_error(self, net):
        """False alarms: 4 standard errors of means of 200, below 1e-4 each."""
        loss, point, dense, *_ = net
        with jax.enable_x64(True):
            found = hessian_trace(loss, point, 200, seed=3)
        assert abs(found.trace - np.trace(dense)) < 4 * found.trace_error
        assert abs(found.square - (dense**2).sum()) < 4 * found.square_error
        off = (dense**2).sum() - (np.diag(dense) ** 2).sum()
        assert found.trace_error == pytest.approx(np.sqrt(2 * off / 200), rel=0.3)  # the variance's own error is 10%

    def test_alignment_against_matrices(self, net):
        loss, point, dense, *_ = net
        values, vectors = np.linalg.eigh(dense)
        noise = np.random.default_rng(4).normal(size=(500, point.size)) * 1e-3
        noise = noise * np.sqrt(np.abs(values)) @ vectors.T  # C = |H| 1e-6
        with jax.enable_x64(True):
            found = noise_alignment(loss, point, noise, hessian_trace(loss, point, 400), vectors[:, -2:])
        covariance = noise.T @ noise / len(noise)
        assert found.power == pytest.approx(np.trace(covariance), rel=1e-9)
        assert found.curvature == pytest.approx(np.trace(covariance @ dense), rel=1e-9)
        exact = (np.abs(values) * values).sum() / (values**2).sum()
        assert found.cosine == pytest.approx(exact, abs=0.1)
        shares = np.diag(vectors.T @ covariance @ vectors)[-2:] / np.trace(covariance)
        np.testing.assert_allclose(found.shares, shares, rtol=1e-9)

    def test_isotropic_noise_has_ratio_one(self, net):
        """False alarm: 5 standard errors of the curvature and the trace."""
        loss, point, *_ = net
        noise = np.random.default_rng(5).normal(size=(500, point.size))
        with jax.enable_x64(True):
            trace = hessian_trace(loss, point, 300)
            found = noise_alignment(loss, point, noise, trace)
        error = np.hypot(found.curvature_error / abs(found.curvature), trace.trace_error / abs(trace.trace))
        assert abs(found.isotropic_ratio - 1) < 5 * error

    def test_sharpness_is_half_the_curvature(self, net):
        loss, point, dense, *_ = net
        values, vectors = np.linalg.eigh(dense)
        with jax.enable_x64(True):
            along = loss_along(loss, point, vectors[:, -1:], [1e-3, 2e-3])
        np.testing.assert_allclose(along.sharpness()[0], values[-1] * np.array([1e-6, 4e-6]) / 2, rtol=1e-3)

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (lambda loss, point: hessian_pairs(loss, point, 0), "0 pairs"),
            (lambda loss, point: hessian_pairs(loss, point, end="middle"), "'middle'"),
            (lambda loss, point: hessian_pairs(lambda p: p.sum(), point), "were not found"),
            (lambda loss, point: hessian_pairs(lambda p: jnp.sqrt((p**2).sum()), 0 * point), "not finite"),
            (lambda loss, point: hessian_trace(loss, point, 1), "1 probes"),
            (lambda loss, point: loss_along(loss, point, np.ones((3, 1)), [1.0]), "directions"),
            (lambda loss, point: noise_alignment(loss, point, np.ones((2, 3)), None), "samples of shape"),
        ],
    )
    def test_bad_arguments(self, net, bad, words):
        loss, point, *_ = net
        with pytest.raises(ValueError, match=words):
            bad(loss, point)


def mueller_brown(p):
    """Mueller and Brown 1979: three minima between two saddles."""
    scales = jnp.array([-200.0, -100.0, -170.0, 15.0], p.dtype)
    a, b = jnp.array([-1, -1, -6.5, 0.7], p.dtype), jnp.array([0, 0, 11, 0.6], p.dtype)
    c, x = jnp.array([-10, -10, -6.5, 0.7], p.dtype), p[0] - jnp.array([1, 0, -0.5, -1], p.dtype)
    y = p[1] - jnp.array([0, 0.5, 1.5, 1], p.dtype)
    return (scales * jnp.exp(a * x**2 + b * x * y + c * y**2)).sum()


def at_rest(loss, guess):
    gradient = jax.jit(jax.grad(loss))
    return scipy.optimize.root(lambda p: np.asarray(gradient(jnp.asarray(p))), guess, tol=1e-12).x


class TestPaths:
    def test_the_barrier_of_mueller_and_browns_potential_is_its_higher_saddle(self):
        with jax.enable_x64(True):
            start, end, saddle = (at_rest(mueller_brown, p) for p in ([-0.56, 1.44], [0.62, 0.03], [-0.82, 0.62]))
            path = least_path(mueller_brown, start, end, images=11, steps=1_500)
            line = line_path(mueller_brown, start, end)
            heights = [float(mueller_brown(jnp.asarray(p))) for p in (start, end, saddle)]
        assert path.barrier == pytest.approx(heights[2] - max(heights[:2]), rel=1e-4)
        np.testing.assert_allclose(path.points[np.argmax(path.losses)], saddle, atol=1e-3)
        assert line.barrier > 1.2 * path.barrier
        assert path.barrier <= path.between < 1.1 * path.barrier

    def test_downhill_has_no_barrier(self):
        path = least_path(lambda p: (p**2).sum(), jnp.array([2.0, 0.0]), jnp.array([0.0, 0.1]), images=5, steps=100)
        assert (path.barrier, path.barrier_place, path.between) == (0.0, None, 0.0)

    def test_the_images_of_a_flat_loss_stay_apart(self):
        path = least_path(lambda p: 0 * p.sum(), jnp.zeros(3), jnp.ones(3), images=7, steps=50)
        np.testing.assert_allclose(np.diff(path.places), 1 / 8, atol=1e-5)

    @pytest.mark.slow
    def test_on_a_network_the_band_is_below_the_line(self, net):
        """Between two orders of the same units the line has a barrier, which the path goes around."""
        _, point, _, flat, (x, y) = net
        plain = mean_loss(flat.losses, x[:40], y[:40])

        def loss(p):
            return plain(p) + 0.01 * (p**2).sum()

        with jax.enable_x64(True):
            first = scipy.optimize.minimize(
                jax.jit(jax.value_and_grad(loss)), np.asarray(point), jac=True, options={"maxiter": 150}
            ).x
            state = flat.unravel(jnp.asarray(first))
            turned = np.array([1, 2, 3, 4, 0])
            swapped = jax.tree.map(
                lambda a: a[turned] if a.shape[0] == 5 else a[..., turned] if a.shape[-1] == 5 else a, state
            )
            second = jax.flatten_util.ravel_pytree(swapped)[0]
            assert float(loss(second)) == pytest.approx(float(loss(jnp.asarray(first))), rel=1e-9)
            line = line_path(loss, first, second)
            path = least_path(loss, first, second, images=9, steps=600)
        assert line.barrier > 0
        assert path.between < line.barrier

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((jnp.zeros(2), jnp.zeros(3)), "ends of shape"),
            ((jnp.zeros(2), jnp.zeros(2)), "one point"),
        ],
    )
    def test_bad_ends(self, arguments, words):
        for way in (line_path, least_path):
            with pytest.raises(ValueError, match=words):
                way(lambda p: p.sum(), *arguments)
