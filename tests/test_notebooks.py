"""The notebooks are pairs: the .ipynb that is shown is the .py that is read and changed, run to its end."""

from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


def test_every_script_has_its_notebook():
    assert NOTEBOOKS
    folder = NOTEBOOKS[0].parent
    assert {path.stem for path in folder.glob("*.ipynb")} == {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_pair_says_the_same_and_has_pictures(script):
    shown, read = jupytext.read(script.with_suffix(".ipynb")), jupytext.read(script)
    assert [cell.source for cell in shown.cells] == [cell.source for cell in read.cells]
    outputs = [output for cell in shown.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
