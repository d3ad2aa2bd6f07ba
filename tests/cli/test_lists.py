"""Lists on the command line, and the module that is the command."""

import argparse
import subprocess
import sys

import pytest

from levyjax.cli.lists import Items


@pytest.mark.parametrize("given", [["1", "2"], ["1,2"], ["1,", "2"], ["1, 2"]])
def test_values_are_parted_by_spaces_or_commas(given):
    parser = argparse.ArgumentParser()
    parser.add_argument("--cell", action=Items, item=int, nargs="+")
    assert parser.parse_args(["--cell", *given]).cell == [1, 2]


def test_what_is_no_number_is_refused():
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--cell", action=Items, item=int, nargs="+")
    with pytest.raises(argparse.ArgumentError, match="invalid int value in '1 a'"):
        parser.parse_args(["--cell", "1,a"])


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "levyjax", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("levyjax ")
