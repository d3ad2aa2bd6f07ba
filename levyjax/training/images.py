"""Networks for images that come as rows: convolutional, residual, and a transformer over patches."""

import itertools
from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import Array, Float

ImageShape = tuple[int, int, int]


def _max_pool(x: Array) -> Array:
    """The largest of windows of 3 x 3, every second one, without padding."""
    return nnx.max_pool(x, (3, 3), (2, 2), "VALID")


def _as_images(x: Array, shape: ImageShape) -> Array:
    return x.reshape(x.shape[0], *shape)


class CNN(nnx.Module):
    """A small convolutional network: two convolutions of 3 x 3, each halved by its largest of 2 x 2, and two layers.

    Args:
        image_shape: (height, width, channels), of at least 4 x 4.
        num_classes: of the output.
        channels: of the first convolution; the second has twice as many, the layer before the last 4 times.
        rngs: for the first parameters.

    Raises:
        ValueError: the images are too small.

    Example:
        >>> import jax.numpy as jnp
        >>> CNN((8, 8, 1), 10, rngs=nnx.Rngs(0))(jnp.zeros((5, 64))).shape
        (5, 10)
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, channels: int = 16, *, rngs: nnx.Rngs):
        height, width, colours = _checked(image_shape, 4)
        self.image_shape = image_shape
        self.convolutions = nnx.List(
            [nnx.Conv(colours, channels, (3, 3), rngs=rngs), nnx.Conv(channels, 2 * channels, (3, 3), rngs=rngs)]
        )
        pixels = (height // 4) * (width // 4) * 2 * channels
        self.layers = nnx.List(
            [nnx.Linear(pixels, 4 * channels, rngs=rngs), nnx.Linear(4 * channels, num_classes, rngs=rngs)]
        )

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = _as_images(x, self.image_shape)
        for convolution in self.convolutions:
            x = nnx.max_pool(jax.nn.relu(convolution(x)), (2, 2), (2, 2))
        x = jax.nn.relu(self.layers[0](x.reshape(x.shape[0], -1)))
        return self.layers[1](x)


class AlexNet(nnx.Module):
    """AlexNet scaled to images of 32 x 32, layer by layer that of the paper's released code, without its dropout.

    Five convolutions of `channels` (4 x 4 with stride 2, 5 x 5, and 3 x 3 three times), each pooling the largest of
    3 x 3 after the first, second and fifth; then two layers of width s (1 + floor(log2 s)), s the number of features
    that are left, and the output. (In the released code noise is measured without dropout, too.)

    Args:
        image_shape: (height, width, channels), of at least 22 x 22.
        num_classes: of the output.
        channels: of all convolutions.
        rngs: for the first parameters.

    Raises:
        ValueError: the images are too small.

    Source:
        Zhou et al. 2020, released code, models.py; the architecture is after Krizhevsky, Sutskever and Hinton 2012.

    Example:
        >>> import jax.numpy as jnp
        >>> net = AlexNet((32, 32, 3), 10, channels=8, rngs=nnx.Rngs(0))
        >>> net(jnp.zeros((2, 3072))).shape, net.layers[0].kernel.shape
        ((2, 10), (8, 32))
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, channels: int = 64, *, rngs: nnx.Rngs):
        height, width, colours = _checked(image_shape, 22)
        self.image_shape = image_shape
        sizes = [(colours, 4, 2, 2), (channels, 5, 1, 2), (channels, 3, 1, 1), (channels, 3, 1, 1), (channels, 3, 1, 1)]
        self.convolutions = nnx.List(
            [
                nnx.Conv(into, channels, (size, size), strides=stride, padding=pad, rngs=rngs)
                for into, size, stride, pad in sizes
            ]
        )
        features = _alexnet_side(height) * _alexnet_side(width) * channels
        hidden = features * features.bit_length()  # 1 + floor(log2 s)
        widths = (features, hidden, hidden, num_classes)
        self.layers = nnx.List([nnx.Linear(into, out, rngs=rngs) for into, out in itertools.pairwise(widths)])

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = _as_images(x, self.image_shape)
        for index, convolution in enumerate(self.convolutions):
            x = jax.nn.relu(convolution(x))
            x = _max_pool(x) if index in (0, 1, 4) else x
        x = x.reshape(x.shape[0], -1)
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


def _alexnet_side(side: int) -> int:
    """Pixels along a side that are left after the convolutions."""
    side = (side + 4 - 4) // 2 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


class ResNet(nnx.Module):
    """A small residual network: stages of two pre-activated blocks of 3 x 3, each stage half as wide and twice as deep.

    Normalised over groups of channels, not over the mini-batch: a loss of each example by itself, so that mini-batch
    gradients are means of gradients of examples, as the noise's theory has it.

    Args:
        image_shape: (height, width, channels), of at least 8 x 8.
        num_classes: of the output.
        channels: of the first stage, a multiple of 4.
        num_stages: 1 or more.
        rngs: for the first parameters.

    Raises:
        ValueError: the images are too small, or channels no multiple of 4.

    Source:
        He et al. 2016 (pre-activation); Wu and He 2018 (group normalisation).

    Example:
        >>> import jax.numpy as jnp
        >>> ResNet((8, 8, 1), 10, channels=4, rngs=nnx.Rngs(0))(jnp.zeros((5, 64))).shape
        (5, 10)
    """

    def __init__(
        self, image_shape: ImageShape, num_classes: int, channels: int = 16, num_stages: int = 3, *, rngs: nnx.Rngs
    ):
        _, _, colours = _checked(image_shape, 8)
        if channels < 4 or channels % 4 or num_stages < 1:
            raise ValueError(f"channels {channels} must be a multiple of 4, and num_stages {num_stages} at least 1.")
        self.image_shape = image_shape
        self.first = nnx.Conv(colours, channels, (3, 3), use_bias=False, rngs=rngs)
        widths = [channels * 2**stage for stage in range(num_stages)]
        blocks = []
        for stage, width in enumerate(widths):
            before = widths[max(stage - 1, 0)]
            blocks += [_Block(before, width, 1 if stage == 0 else 2, rngs=rngs), _Block(width, width, 1, rngs=rngs)]
        self.blocks = nnx.List(blocks)
        self.norm = nnx.GroupNorm(widths[-1], num_groups=4, rngs=rngs)
        self.last = nnx.Linear(widths[-1], num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = self.first(_as_images(x, self.image_shape))
        for block in self.blocks:
            x = block(x)
        return self.last(jax.nn.relu(self.norm(x)).mean(axis=(1, 2)))


class _Block(nnx.Module):
    def __init__(self, before: int, after: int, stride: int, *, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.GroupNorm(size, num_groups=4, rngs=rngs) for size in (before, after)])
        self.convolutions = nnx.List(
            [
                nnx.Conv(before, after, (3, 3), strides=stride, use_bias=False, rngs=rngs),
                nnx.Conv(after, after, (3, 3), use_bias=False, rngs=rngs),
            ]
        )
        direct = before == after and stride == 1
        self.shortcut = None if direct else nnx.Conv(before, after, (1, 1), strides=stride, use_bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        active = jax.nn.relu(self.norms[0](x))
        straight = x if self.shortcut is None else self.shortcut(active)
        active = self.convolutions[0](active)
        return straight + self.convolutions[1](jax.nn.relu(self.norms[1](active)))


class Transformer(nnx.Module):
    """A small transformer over square patches of an image: learned positions, pre-normalised blocks, the tokens' mean.

    Args:
        image_shape: (height, width, channels), both sides a multiple of `patch`.
        num_classes: of the output.
        patch: side of a patch in pixels.
        width: of a token, a multiple of `num_heads`.
        depth: blocks.
        num_heads: of attention.
        rngs: for the first parameters.

    Raises:
        ValueError: sides that are no multiple of the patch, or a width that is none of the heads.

    Source:
        Dosovitskiy et al. 2021; the mean of the tokens in place of a class token.

    Example:
        >>> import jax.numpy as jnp
        >>> Transformer((8, 8, 1), 10, patch=2, rngs=nnx.Rngs(0))(jnp.zeros((5, 64))).shape
        (5, 10)
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int,
        patch: int = 4,
        width: int = 32,
        depth: int = 2,
        num_heads: int = 4,
        *,
        rngs: nnx.Rngs,
    ):
        height, columns, colours = _checked(image_shape, 1)
        if patch < 1 or height % patch or columns % patch or width % num_heads:
            raise ValueError(
                f"images of {height} x {columns} must have sides that are multiples of the patch {patch}, and width "
                f"{width} must be one of num_heads {num_heads}."
            )
        self.image_shape, self.patch = image_shape, patch
        tokens = (height // patch) * (columns // patch)
        self.embedding = nnx.Linear(patch * patch * colours, width, rngs=rngs)
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs.params(), (tokens, width)))
        self.blocks = nnx.List([_AttentionBlock(width, num_heads, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.last = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """Logits."""
        height, columns, colours = self.image_shape
        side = self.patch
        x = x.reshape(x.shape[0], height // side, side, columns // side, side, colours)
        tokens = x.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape[0], -1, side * side * colours)
        tokens = self.embedding(tokens) + self.positions[...]
        for block in self.blocks:
            tokens = block(tokens)
        return self.last(self.norm(tokens).mean(axis=1))


class _AttentionBlock(nnx.Module):
    def __init__(self, width: int, num_heads: int, *, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(num_heads, width, decode=False, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)])

    def __call__(self, x: Array) -> Array:
        x = x + self.attention(self.norms[0](x))
        return x + self.layers[1](jax.nn.gelu(self.layers[0](self.norms[1](x))))


def _checked(image_shape: ImageShape | None, side: int) -> ImageShape:
    if image_shape is None or len(image_shape) != 3 or min(image_shape) < 1 or min(image_shape[:2]) < side:
        raise ValueError(f"this network needs images of at least {side} x {side} pixels, got shape {image_shape}.")
    return image_shape


IMAGE_NETWORKS: dict[str, Callable[..., nnx.Module]] = {
    "cnn": CNN,
    "alexnet": AlexNet,
    "resnet": ResNet,
    "transformer": Transformer,
}
