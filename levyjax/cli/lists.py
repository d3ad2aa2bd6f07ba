"""Options that take several values, parted by spaces or by commas: `--only D1 D2`, `--only D1,D2`."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any


class Items(argparse.Action):
    """Of an option with nargs "+" or "*": all values as a list, each read by `item`."""

    def __init__(self, *args: Any, item: Callable[[str], Any] = str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.item = item

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parts = [part.strip() for value in values or () for part in value.split(",") if part.strip()]
        try:
            setattr(namespace, self.dest, [self.item(part) for part in parts])
        except ValueError:
            raise argparse.ArgumentError(self, f"invalid {self.item.__name__} value in {' '.join(parts)!r}") from None
