"""What every result on disk offers: its figures by kind, and what a reader may choose of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes


@dataclass(frozen=True)
class Choice:
    """What to draw of a result; each figure takes what it has a use for.

    Attributes:
        cells: which cells, counted from 0; default those that there is room for.
        x, y: the axes of a phase diagram; default the first that vary.
        where: axis -> the value at which the other axes are held; default their first one.
    """

    cells: tuple[int, ...] = ()
    x: str | None = None
    y: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)


Draw = Callable[[Choice], Axes]


@dataclass(frozen=True)
class Figures:
    """A result on disk.

    Attributes:
        source: the command that wrote it.
        about: kind -> what it shows, of all that such a result may have.
        kinds: kind -> draws it, in a new figure; only what the result contains.
    """

    source: str
    about: Mapping[str, str]
    kinds: Mapping[str, Draw]

    def draw(self, kind: str, choice: Choice | None = None) -> Axes:
        """The figure of a kind.

        Raises:
            ValueError: a kind that this result does not have, or a choice that does not fit.
        """
        if kind not in self.kinds:
            offered = f"It has {', '.join(self.kinds)}." if self.kinds else "It has none."
            raise ValueError(f"kind {kind[:40]!r} is not in this result of {self.source}. {offered}")
        return self.kinds[kind](choice or Choice())


def offered(kinds: Mapping[str, tuple[bool, Any]]) -> dict[str, Draw]:
    """The kinds whose condition holds."""
    return {name: draw for name, (there, draw) in kinds.items() if there}
