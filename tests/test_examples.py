"""The examples run, and the parts that they write anew keep the laws of the space that they stand for."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bertcompress.diagnostics import interference_summary

PATH = Path(__file__).parent.parent / "examples" / "images.py"


@pytest.fixture(scope="module")
def images() -> ModuleType:
    specification = importlib.util.spec_from_file_location("images", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Where dataclasses look for the module of their annotations.
    sys.modules["images"] = module
    specification.loader.exec_module(module)
    return module


def test_a_chain_of_images_is_trained_measured_and_ranked(
    images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interference_summary, "NUM_RESAMPLES", 10)
    small = "--steps 12 --children 5 --child-steps 3 --seeds 1 --pairs 2 --resamples 10"
    words = [*small.split(), "--strategy", "magic-at", "--folder", str(tmp_path)]
    result = images.main(words)
    assert json.loads((tmp_path / "images.json").read_text())["strategy"] == "magic-at"
    for when in ("before", "after"):
        measured = result["interference"][when]
        assert [row["distance"] for row in measured["by_distance"]] == [1, 2, 3, 4]
        # A child that takes over both signals has the other's gradients, whatever the operators are.
        assert measured["mixing"]["both"]["cosines"][-1]["value"] == pytest.approx(1.0, abs=1e-4)
    assert result["ranking"]["num_children"] == 5
    assert "parameters" in {row["name"] for row in result["ranking"]["baselines"]}
    assert {path.name for path in tmp_path.glob("*.png")} == {"interference.png", "ranking.png"}
    # The children that were trained are kept: the same again costs no training, and changes nothing.
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "children").glob("*.json")}
    assert images.main(words) == result
    assert trained == {path: path.stat().st_mtime_ns for path in (tmp_path / "children").glob("*.json")}


def test_any_strategy_trains_it(images: ModuleType, tmp_path: Path) -> None:
    splits = images.digits(0)
    networks = [images.train_chain(name, splits, 2, tmp_path, 0) for name in ("sandwich", "fair", "magic-t")]
    first = [network.head.weight.detach() for network in networks]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])


def test_counted_parameters_of_a_block_equal_numel(images: ModuleType) -> None:
    for block in images.BLOCKS:
        network = images.BlockChain([(block,)])
        module = network.module_at(0, block)
        numel = 0 if module is None else sum(weight.numel() for weight in module.parameters())
        assert block.num_parameters == numel


def test_a_child_alone_equals_the_child_inside(images: ModuleType) -> None:
    whole = images.BlockChain(images.CHOICES)
    child = (images.BLOCKS[1], images.BLOCKS[-1], images.BLOCKS[3], images.BLOCKS[0], images.BLOCKS[2])
    alone = images.BlockChain([(block,) for block in child])
    alone.load_state_dict({name: whole.state_dict()[name] for name in alone.state_dict()})
    pictures = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ours, theirs = (network(pictures, architecture=child) for network in (whole, alone))
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=0)
    assert [tuple(state.shape) for state in ours.hidden_states] == [(3, 4, 4, 16)] * 6
