"""Networks on images, and the losses: sizes, and that each of them learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from levyjax.training import CNN, MLP, AlexNet, ResNet, TrainConfig, Transformer, flatten, load, train

IMAGES = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 64)), jnp.float32)


def size(net):
    return flatten(net).parameters.size


def test_alexnet_has_the_released_networks_parameters():
    convolutions = (3 * 16 + 1) * 64 + (64 * 25 + 1) * 64 + 3 * (64 * 9 + 1) * 64
    layers = (64 + 1) * 448 + (448 + 1) * 448 + (448 + 1) * 10
    assert size(AlexNet((32, 32, 3), 10, rngs=nnx.Rngs(0))) == convolutions + layers


def test_the_papers_fully_connected_network():
    net = MLP((784, *[512] * 8, 10), bias=False, rngs=nnx.Rngs(0))
    assert size(net) == 784 * 512 + 7 * 512**2 + 512 * 10


@pytest.mark.parametrize(
    "kind", [CNN, pytest.param(ResNet, marks=pytest.mark.slow), pytest.param(Transformer, marks=pytest.mark.slow)]
)
class TestOnDigits:
    def make(self, kind):
        sizes = {CNN: {"channels": 4}, ResNet: {"channels": 4, "num_stages": 2}, Transformer: {"patch": 4, "depth": 1}}
        return kind((8, 8, 1), 10, **sizes[kind], rngs=nnx.Rngs(0))

    def test_examples_do_not_see_each_other(self, kind):
        model = flatten(self.make(kind))
        together = model.apply(model.parameters, IMAGES)
        alone = jnp.concatenate([model.apply(model.parameters, IMAGES[i : i + 1]) for i in range(6)])
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)

    def test_every_parameter_array_has_a_gradient(self, kind):
        model = flatten(self.make(kind))
        gradient = jax.grad(lambda p: model.losses(p, IMAGES, jnp.arange(6, dtype=jnp.int32)).mean())(model.parameters)
        for name, (start, stop) in model.slices.items():
            if not name.endswith("attention.key.bias"):  # which moves all scores of a query alike
                assert float(jnp.abs(gradient[start:stop]).max()) > 1e-7, name


@pytest.mark.parametrize(("network", "least"), [("cnn", 0.93), pytest.param("resnet", 0.93, marks=pytest.mark.slow)])
def test_a_network_learns_the_digits(network, least):
    config = TrainConfig(network=network, optimizer="adam", learning_rate=3e-3, iterations=250, batch_size=64)
    assert train(config).test_accuracy[-1] > least


def test_linear_hinge_is_that_of_the_definition_and_is_learned():
    model = flatten(MLP((64, 10), rngs=nnx.Rngs(0)), "linear_hinge")
    labels = np.arange(6, dtype=np.int32)
    logits = np.asarray(model.apply(model.parameters, IMAGES))
    signs = np.where(np.arange(10) == labels[:, None], 1, -1)
    expected = np.maximum(1 - signs * logits, 0).mean(axis=1)
    np.testing.assert_allclose(model.losses(model.parameters, IMAGES, jnp.asarray(labels)), expected, rtol=1e-5)
    assert train(TrainConfig(loss="linear_hinge", iterations=600, learning_rate=1.0)).test_accuracy[-1] > 0.9


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: train(TrainConfig(data="synthetic", network="cnn")), "is for images, and synthetic has none"),
        (lambda: train(TrainConfig(network="alexnet")), "at least 22 x 22 pixels, got shape (8, 8, 1)"),
        (lambda: TrainConfig(network="lenet"), "network 'lenet' is unknown"),
        (lambda: TrainConfig(loss="squares"), "loss 'squares' is unknown"),
        (lambda: flatten(MLP((4, 3), rngs=nnx.Rngs(0)), "squares"), "loss 'squares' is unknown"),
        (lambda: ResNet((8, 8, 1), 10, channels=6, rngs=nnx.Rngs(0)), "channels 6 must be a multiple of 4"),
        (lambda: Transformer((9, 8, 1), 10, rngs=nnx.Rngs(0)), "multiples of the patch 4"),
    ],
)
def test_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert words in str(caught.value)


def test_images_come_from_the_data_set():
    assert load("synthetic").image_shape is None
    assert np.prod(load("digits").image_shape) == 64
