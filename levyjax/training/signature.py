"""The signature of a loss: which of the parts of a batch, a key and a state it takes."""

import inspect
from typing import Any

from levyjax.training.examples import Pair


def call_of(loss: Any, batch: Any, key: Any, state: Any, streams: bool) -> tuple[tuple[str, ...], str]:
    """Which of key and state the function takes, and whether the parts of a batch, its first alone or all as one."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):
        return tuple(n for n, v in (("key", key), ("state", state)) if v is not None), "parts"
    takes = [
        name
        for name, part in signature.parameters.items()
        if part.kind in (part.KEYWORD_ONLY, part.POSITIONAL_OR_KEYWORD)
    ]
    anything = any(part.kind is part.VAR_KEYWORD for part in signature.parameters.values())
    names = []
    for name, value in (("key", key), ("state", state)):
        if value is not None and (name in takes or anything):
            names.append(name)
        elif value is not None and not (name == "key" and streams):
            raise ValueError(f"{name} is given, and the loss takes none: give a loss (parameters, x, y, {name}=None).")
    given = dict.fromkeys(names)

    def binds(*parts: Any) -> bool:
        try:
            signature.bind(None, *parts, **given)
        except TypeError:
            return False
        return True

    if isinstance(batch, Pair):
        order = ("first", "parts") if batch[1] is None else ("parts", "whole")
        count = {"first": 1, "parts": 2, "whole": 1}
    else:
        splits = isinstance(batch, tuple | list) and len(batch) > 1 and _required(signature, given) != 1
        order, count = (
            (("parts", "whole") if splits else ("whole",)),
            {"parts": len(batch) if splits else 0, "whole": 1},
        )
    for layout in order:
        if binds(*[None] * count[layout]):
            return tuple(names), layout
    raise ValueError(f"the loss takes {signature}: give a function (parameters, x, y) or (parameters, batch).")


def _required(signature: inspect.Signature, given: Any) -> int:
    """Positional arguments without a default after the parameters; -1 where there may be any number."""
    positional = [part for name, part in signature.parameters.items() if name not in given]
    if any(part.kind is part.VAR_POSITIONAL for part in positional):
        return -1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(part.kind in kinds and part.default is part.empty for part in positional) - 1
