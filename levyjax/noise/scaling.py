"""How stable noise scales with time and with the learning rate; every power of a step size in levyjax is here."""

from typing import Any


def increment_scale(alpha: Any, dt: Any) -> Any:
    """dt^(1/alpha): the scale of L(t + dt) - L(t), whose scale over one unit of time is 1 (self-similarity)."""
    return dt ** (1 / alpha)


def sde_noise_level(alpha: Any, learning_rate: Any) -> Any:
    """learning_rate^((alpha-1)/alpha): the epsilon at which dx = -grad F dt + epsilon A dL has SGD as its Euler scheme.

    One iteration moves x by learning_rate A u; over dt = learning_rate the SDE's noise is
    epsilon learning_rate^(1/alpha) A u. It is below 1 for small learning rates only where alpha > 1: at alpha = 1 the
    noise level does not depend on the learning rate, and below it *grows* as the learning rate falls.

    Source:
        Zhou et al. 2020, section 3; Simsekli et al. 2019, section 4.

    Example:
        >>> sde_noise_level(2.0, 0.01)
        0.1
    """
    return learning_rate ** ((alpha - 1) / alpha)
