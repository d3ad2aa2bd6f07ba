"""What every test runs under: four virtual CPU devices and strict types; with `--typecheck`, array annotations too.

At the end of a run the programs that took longest to compile are named, so that waiting for them is noticed.
"""

import collections
import gc
import os
import pathlib

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest
from jaxtyping import install_import_hook

CHECKED = ("stable", "random", "noise", "landscapes", "basins", "dynamics", "solvers", "engine", "escape.problem")

jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_addoption(parser):
    parser.addoption("--typecheck", action="store_true", help="check array annotations at run time, by beartype")


def pytest_configure(config):
    """Annotations are checked where that is asked for, before any module of levyjax is imported.

    Compiled programs are kept with pytest's own cache, for the other worker and the next run: `--cache-clear` empties
    it, `-p no:cacheprovider` does without.
    """
    if config.getoption("--typecheck"):
        install_import_hook([f"levyjax.{package}" for package in CHECKED], "beartype.beartype")
    if config.pluginmanager.hasplugin("cacheprovider"):
        for name, value in (
            ("jax_compilation_cache_dir", str(config.cache.mkdir("programs"))),
            ("jax_persistent_cache_min_compile_time_secs", 0.0),
            ("jax_persistent_cache_min_entry_size_bytes", -1),
        ):
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)  # for the commands that tests call
        # an entry that cannot be read, as another process is writing it, is compiled
        config.addinivalue_line("filterwarnings", "ignore:Error .* persistent compilation cache entry")


_COMPILING = "/jax/core/compile/"  # events of tracing, lowering and compiling a program
_programs = collections.defaultdict(lambda: [0, 0.0])  # name -> how often it was compiled, seconds in all
_files = collections.defaultdict(lambda: [0, 0.0])  # the same for files of tests
_file = ""  # of the test that runs


def _on_event(event: str, seconds: float, fun_name: str = "", **_):
    if event.startswith(_COMPILING):
        name = fun_name.removeprefix("jit_").removeprefix("jit(").removesuffix(")")
        for entry in (_programs[name], _files[_file]):
            entry[0] += event.endswith("backend_compile_duration")
            entry[1] += seconds


jax.monitoring.register_event_duration_secs_listener(_on_event)


def pytest_runtest_setup(item):
    global _file
    _file = item.path.name


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        for kind, found in (("programs", _programs), ("files", _files)):
            session.config.workeroutput[kind] = [[name, *entry] for name, entry in found.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for kind, found in (("programs", _programs), ("files", _files)):
        for name, count, seconds in getattr(node, "workeroutput", {}).get(kind, []):
            found[name][0] += count
            found[name][1] += seconds


def pytest_terminal_summary(terminalreporter):
    """The ten programs, and the ten files of tests, that took longest to trace and compile, all processes together."""
    count, seconds = (sum(entry[place] for entry in _programs.values()) for place in (0, 1))
    terminalreporter.write_sep("-", f"{count} programs compiled in {seconds:.0f} s of all processes")
    for found in (_programs, _files):
        for name, (count, seconds) in sorted(found.items(), key=lambda item: -item[1][1])[:10]:
            terminalreporter.write_line(f"{seconds:8.1f} s  {count:5d} x  {name}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Tests that forget what is compiled come last: whatever follows them is compiled once more."""
    items.sort(key=lambda item: "programs" in item.fixturenames)


@pytest.fixture
def programs():
    """Names of programs that were compiled since the beginning of the test, or since they were cleared."""
    names = []

    def on_event(event: str, seconds: float, fun_name: str = "", **_):
        if event.endswith("backend_compile_duration"):
            names.append(fun_name)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(on_event)
    yield names
    jax.monitoring.unregister_event_duration_listener(on_event)


@pytest.fixture(params=[1, pytest.param(100, marks=pytest.mark.slow)], ids="{}x".format)
def many(request) -> int:
    """How many times its usual number of draws a law test takes; its bounds follow from that number.

    What a law test allows is stated in standard errors or as a p-value, so that at 100 times the draws it sees errors
    ten times smaller, with the same chance of a false alarm.
    """
    return request.param


_MOST_MAPS = 40_000  # of 65,530 memory maps that Linux lets a process have; every compiled program takes several
_finished = 0


def pytest_runtest_teardown(item):
    """Forget compiled programs before a worker has too many of them: the next compilation would crash it."""
    global _finished
    _finished += 1
    maps = pathlib.Path("/proc/self/maps")
    if _finished % 20 == 0 and maps.exists() and len(maps.read_bytes().splitlines()) > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()
