"""What a result was computed with: the part of a record that is not the configuration."""

import platform
from importlib import metadata
from typing import Any

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def environment() -> dict[str, Any]:
    """Versions of Python and of the packages that make numbers, the operating system and the devices.

    Example:
        >>> sorted(environment())
        ['devices', 'packages', 'platform', 'python']
    """
    import jax

    from levyjax import __version__

    versions = {name: metadata.version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {"levyjax": __version__, **versions},
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()],
    }
