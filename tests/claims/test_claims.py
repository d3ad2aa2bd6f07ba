"""The claims: what every one of them must have, and the formulas that their experiments rest on."""

import importlib
import itertools
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from levyjax.claims import CLAIMS, Claim, Outcome, base, reproduce
from levyjax.claims.base import Settings
from levyjax.claims.matched_progress import Setting, boundary_ratio, log_ratio, matched_ratio, sde_pair
from levyjax.cli import main
from levyjax.environment import environment
from levyjax.escape import predict

claims_module = importlib.import_module("levyjax.claims.reproduce")
CELLS = list(itertools.product((1.2, 1.5, 1.8), (3.0, 100.0), (-0.5, 0.0, 0.5)))


def test_every_claim_says_what_and_whence_and_how_it_is_judged():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.statement.endswith("."), claim.id
        assert claim.source, claim.id
        assert claim.rule, claim.id


class TestSeeds:
    def test_no_two_claims_share_one(self):
        ids = {claim.id for claim in CLAIMS}
        assert set(base._SEEDS) <= ids
        ranges = [settings.seeds(claim) for settings in map(Settings, (False,) * 3, range(3)) for claim in base._SEEDS]
        taken = [seed for seeds in ranges for seed in seeds]
        assert len(taken) == len(set(taken))
        assert all(own.stop <= base._REPORT for own in base._SEEDS.values())

    def test_a_claim_takes_its_own_and_no_more(self):
        """Whatever simulates asks for seeds by the id of a claim in its own file; past their end is an IndexError."""
        asked = []
        for path in sorted(Path(base.__file__).parent.glob("*.py")):
            text = path.read_text()
            names = re.findall(r'seeds(?:_of)?\((?:seed, )?"([^"]+)"\)', text)
            own = set(re.findall(r'Claim\(\s*"([^"]+)"', text))
            assert set(names) <= own, path.name
            asked += names
            if path.name not in ("training_path.py", "applied_noise.py"):  # batches of trainings, not simulations
                assert not re.search(r"\bseed \* 1000|1000 \* seed|settings\.seed [*+]", text), path.name
        assert set(asked) == set(base._SEEDS)
        with pytest.raises(IndexError):
            Settings().seeds("D3")[10]


@pytest.mark.parametrize("cell", CELLS)
class TestMatchedProgress:
    def test_both_laws_give_the_map(self, cell):
        setting = Setting(*cell)
        ratio = matched_ratio(setting)
        sgd, adam = (predict(problem) for problem in sde_pair(setting, ratio))
        assert sgd.valid
        assert adam.valid
        measured = ratio * adam.mean_exit_time / sgd.mean_exit_time
        assert np.log10(measured) == pytest.approx(log_ratio(setting, ratio), abs=1e-4)

    def test_equal_learning_rates_in_the_noises_unit_are_equal_progress_without_alignment(self, cell):
        setting = Setting(cell[0], cell[1], 0.0)
        assert matched_ratio(setting) == pytest.approx(1, rel=1e-9)
        assert boundary_ratio(setting) == pytest.approx(1, rel=1e-9)


class TestResume:
    def test_what_is_finished_is_kept_and_what_changed_is_done_again(self, tmp_path, monkeypatch):
        runs = []

        def claim(name, rule="its number is above 0"):
            def run(settings):
                runs.append(name)
                if name == "B" and runs.count("B") == 1:
                    raise KeyboardInterrupt
                return Outcome(None, 1.0, (0.9, 1.1), "confirmed", "It is.", lambda: plt.figure().gca(), "empty axes")

            return Claim(name, "a statement", "nobody", rule, run)

        monkeypatch.setattr(claims_module, "CLAIMS", (claim("A"), claim("B"), claim("C")))
        with pytest.raises(KeyboardInterrupt):
            reproduce(tmp_path, quick=True)
        first = json.loads((tmp_path / "results.json").read_text())["claims"]
        assert [row["id"] for row in first] == ["A"]
        results = reproduce(tmp_path, quick=True, resume=True)["claims"]
        assert [row["id"] for row in results] == ["A", "B", "C"]
        assert results[0] == first[0]
        assert runs == ["A", "B", "B", "C"]
        reproduce(tmp_path, quick=True, seed=1, resume=True)
        assert runs[4:] == ["A", "B", "C"]
        monkeypatch.setattr(claims_module, "CLAIMS", (claim("A"), claim("B", "another rule"), claim("C")))
        reproduce(tmp_path, quick=True, seed=1, resume=True)
        assert runs[7:] == ["B"]
        (tmp_path / "results.json").write_text("{")
        reproduce(tmp_path, quick=True, seed=1, resume=True)
        assert runs[8:] == ["A", "B", "C"]

    def test_one_claim_again_keeps_the_others(self, tmp_path, monkeypatch):
        def claim(name):
            outcome = Outcome(None, 1.0, (0.9, 1.1), "confirmed", "It is.", lambda: plt.figure().gca(), "empty axes")
            return Claim(name, "a statement", "nobody", "a rule", lambda settings: outcome)

        monkeypatch.setattr(claims_module, "CLAIMS", (claim("A"), claim("B")))
        first = reproduce(tmp_path)["claims"]
        again = reproduce(tmp_path, only=["B"], quick=True, seed=1)["claims"]
        assert again[0]["seconds"] == first[0]["seconds"]
        assert [(row["id"], row["seed"]) for row in again] == [("A", 0), ("B", 1)]
        monkeypatch.setattr(claims_module, "environment", lambda: {**environment(), "platform": "elsewhere"})
        before = (tmp_path / "results.json").read_bytes()
        with pytest.raises(ValueError, match="would be lost"):
            reproduce(tmp_path, only=["B"])
        assert (tmp_path / "results.json").read_bytes() == before

    def test_the_list_runs_nothing(self, capsys):
        assert main(["reproduce", "--list", "--json"]) == 0
        assert [row["id"] for row in json.loads(capsys.readouterr().out)["claims"]] == [claim.id for claim in CLAIMS]


def test_sizes_grow_from_quick_over_default_to_full():
    """Trials grow at every size; what does not average out stays at its default."""
    assert [Settings(quick=True).trials(10, 100), Settings().trials(10, 100)] == [10, 100]
    assert Settings(full=True).trials(10, 100) > 100
    assert Settings(full=True).size(10, 100) == 100
    with pytest.raises(ValueError, match="exclude"):
        Settings(quick=True, full=True)
