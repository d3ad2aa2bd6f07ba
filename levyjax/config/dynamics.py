"""The optimizers that a run can name."""

from typing import Protocol

from levyjax.config.checks import (
    ConfigError,
    boolean,
    choice,
    not_negative,
    positive,
    real,
    refuse,
    sweep,
    vector,
)
from levyjax.config.landscapes import Point
from levyjax.config.tables import key, table

Sweep = int | float | tuple[int | float, ...]

ITERATION_ONLY = ("adagrad", "clipped_sgd")  # kinds without an SDE

_learning_rate = sweep(positive)
_beta = real("a number from 0 up to, but not including, 1", lambda x: 0.0 <= x < 1.0)
_gradient_noise = choice(("frozen", "gaussian", "stable"))
_variant = choice(("paper", "corrected", "frozen", "malladi"))


class DynamicsConfig(Protocol):
    """What the rest of the configuration asks of an optimizer."""

    table: str
    kind: str
    learning_rate: Sweep | None

    @property
    def uses_learning_rate(self) -> str | None:
        """The choice that needs a learning rate even in continuous time, as the file has it; None where none does."""
        ...


@table("dynamics", "sgd")
class SgdConfig:
    """dx = -grad F dt + noise_level A dL; as an iteration, x <- x - learning_rate (grad F + noise_level A u).

    Args:
        learning_rate: needed by method "iteration" only; a list sweeps.
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)

    @property
    def uses_learning_rate(self) -> str | None:
        return None


@table("dynamics", "momentum")
class MomentumConfig:
    """Heavy ball, as the SDE of (x, m) or as the iteration m <- beta m + g, x <- x - learning_rate m.

    Args:
        learning_rate: needed by every method; a list sweeps.
        beta: how much of the trace an iteration keeps.
        nesterov: whether the step looks ahead: x <- x - learning_rate (g + beta m).
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)
    beta: float = key(_beta, default=0.9)
    nesterov: bool = key(boolean, default=False)

    @property
    def uses_learning_rate(self) -> str | None:
        return '[dynamics] kind = "momentum"'


def _check_preconditioner(adam: "AdamConfig | AdamwConfig") -> None:
    if adam.variant == "frozen" and adam.preconditioner is None:
        raise ConfigError(
            '[dynamics] variant = "frozen" needs preconditioner, the diagonal of Q. '
            "Add for example preconditioner = [1.0, 0.5], one number above 0 for each coordinate."
        )
    if adam.variant != "frozen" and adam.preconditioner is not None:
        raise refuse(list(adam.preconditioner), "[dynamics] preconditioner", 'it with variant = "frozen" only')
    if adam.variant == "malladi" and adam.gradient_noise != "frozen":
        raise refuse(adam.gradient_noise, "[dynamics] gradient_noise", '"frozen" with variant = "malladi"')


def _what_uses_it(adam: "AdamConfig | AdamwConfig") -> str | None:
    if adam.variant in ("corrected", "malladi"):
        return f'[dynamics] variant = "{adam.variant}"'
    return None if adam.gradient_noise == "frozen" else f'[dynamics] gradient_noise = "{adam.gradient_noise}"'


@table("dynamics", "adam")
class AdamConfig:
    """Adam as a system of (x, m, v), Eq. 5 of Zhou et al. (NeurIPS 2020), or as the iteration itself.

    Args:
        learning_rate: needed by method "iteration", by variants "corrected" and "malladi" and by gradient_noise
            "gaussian" and "stable"; a list sweeps.
        beta1, beta2: of the running means of the gradient and of its square.
        epsilon: added to the root of v.
        gradient_noise: the randomness of the g^2 in dv: "frozen" takes (grad F)^2 + diag(A A').
        variant: "paper" (Eq. 5 to the letter), "corrected" (rates (1 - beta)/learning_rate), "frozen" (Q does not
            move and is diag(preconditioner)) or "malladi" (the rates of "corrected", noise in m; Malladi et al. 2022).
        preconditioner: the diagonal of Q, for variant "frozen" only.
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)
    beta1: float = key(_beta, default=0.9)
    beta2: float = key(_beta, default=0.999)
    epsilon: float = key(not_negative, default=1e-8)
    gradient_noise: str = key(_gradient_noise, default="frozen")
    variant: str = key(_variant, default="paper")
    preconditioner: Point | None = key(vector(positive), default=None, coordinates=0)

    @property
    def uses_learning_rate(self) -> str | None:
        return _what_uses_it(self)

    def check(self) -> None:
        _check_preconditioner(self)


@table("dynamics", "adamw")
class AdamwConfig:
    """Adam with decoupled weight decay: each iteration also takes learning_rate weight_decay x off x.

    Args:
        weight_decay: pulls to 0, wherever the minimum is.
        learning_rate, beta1, beta2, epsilon, gradient_noise, variant, preconditioner: as for "adam".
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)
    beta1: float = key(_beta, default=0.9)
    beta2: float = key(_beta, default=0.999)
    epsilon: float = key(not_negative, default=1e-8)
    weight_decay: float = key(not_negative, default=1e-4)
    gradient_noise: str = key(_gradient_noise, default="frozen")
    variant: str = key(_variant, default="paper")
    preconditioner: Point | None = key(vector(positive), default=None, coordinates=0)

    @property
    def uses_learning_rate(self) -> str | None:
        return _what_uses_it(self)

    def check(self) -> None:
        _check_preconditioner(self)


@table("dynamics", "rmsprop")
class RmspropConfig:
    """RMSProp as the SDE of (x, v) with rate (1 - beta2)/learning_rate, or as the iteration itself.

    Args:
        learning_rate: needed by every method; a list sweeps.
        beta2: how much of v, the running mean of squared gradients, an iteration keeps.
        epsilon: added to the root of v.
        gradient_noise: the randomness of the g^2 in dv, as for "adam".
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)
    beta2: float = key(_beta, default=0.9)
    epsilon: float = key(not_negative, default=1e-8)
    gradient_noise: str = key(_gradient_noise, default="frozen")

    @property
    def uses_learning_rate(self) -> str | None:
        return '[dynamics] kind = "rmsprop"'


@table("dynamics", "adagrad")
class AdagradConfig:
    """AdaGrad: v <- v + g^2, x <- x - learning_rate g/sqrt(v + epsilon); method "iteration" only.

    Args:
        learning_rate: a list sweeps.
        initial: what v starts from.
        epsilon: added to v under the root.
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)
    initial: float = key(not_negative, default=0.1)
    epsilon: float = key(not_negative, default=1e-7)

    @property
    def uses_learning_rate(self) -> str | None:
        return None


@table("dynamics", "clipped_sgd")
class ClippedSgdConfig:
    """Gradient descent with clipped steps, x <- x - clip(learning_rate g); method "iteration" only.

    Args:
        learning_rate: a list sweeps.
        bound: the longest step.
        by: what the bound is for: "norm" (the step's length) or "coordinate".
    """

    learning_rate: Sweep | None = key(_learning_rate, default=None)
    bound: float = key(positive)
    by: str = key(choice(("norm", "coordinate")), default="norm")

    @property
    def uses_learning_rate(self) -> str | None:
        return None
