"""A machine is called noisy by what others do on it, never by the own work."""

from __future__ import annotations

import dataclasses
import os
import re

import numpy as np
import onnx
import pytest

from bertcompress.measure import Noise, NoiseWatch, session
from bertcompress.measure.noise import MAX_BUSY_SHARE, MAX_DRIFT
from bertcompress.measure.teamwork import NUM_PRODUCTS, ROWS, WIDTH, Teamwork, _chain

QUIET = Noise(1.0, 0.1, 0.01, 0.0, 0.2, 0.01, 0.02)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"busy_share_of_others": MAX_BUSY_SHARE * 2}, "other processes used 20%"),
        ({"steal_share": 0.05}, "the hypervisor took 5.0%"),
        ({"calibration_drift": MAX_DRIFT * 2}, "a fixed loop took \\+10% after"),
        ({"calibration_drift": -MAX_DRIFT * 2}, "a fixed loop took -10% after"),
        ({"calibration_iqr": 0.5}, "timings spread over 50%"),
        ({"team_shares": (0.54, 0.66)}, "several threads took 0.54 to 0.66 of one thread's time"),
    ],
)
def test_a_noisy_machine_is_said_to_be_noisy(change, reason):
    noise = dataclasses.replace(QUIET, **change)
    assert noise.to_dict()["noisy"] is True
    (found,) = noise.reasons
    assert re.search(reason, found)


def test_a_quiet_machine_and_one_that_does_not_tell_are_not_called_noisy():
    steady = dataclasses.replace(QUIET, team_shares=(0.54, 0.57))
    assert steady.to_dict()["noisy"] is False
    silent = dataclasses.replace(QUIET, load_average=None, busy_share_of_others=None, steal_share=None)
    assert QUIET.to_dict()["noisy"] is silent.to_dict()["noisy"] is False


def test_own_work_is_no_noise(monkeypatch):
    ticks = iter([[0.0] * 8, [200.0, 0, 0, 100, 0, 0, 0, 0]])
    own = iter([0.0, 200 / os.sysconf("SC_CLK_TCK")])
    monkeypatch.setattr("bertcompress.measure.noise._cpu_ticks", lambda: np.array(next(ticks)))
    monkeypatch.setattr("bertcompress.measure.noise._own_seconds", lambda: next(own))
    with NoiseWatch() as watch:
        pass
    assert watch.noise.busy_share_of_others == pytest.approx(0)
    assert watch.noise.steal_share == 0
    assert watch.noise.calibration_ms > 0


def test_others_work_is_noise(monkeypatch):
    ticks = iter([[0.0] * 8, [150.0, 0, 0, 30, 0, 0, 0, 20]])
    monkeypatch.setattr("bertcompress.measure.noise._cpu_ticks", lambda: np.array(next(ticks)))
    monkeypatch.setattr("bertcompress.measure.noise._own_seconds", lambda: 0.0)
    with NoiseWatch() as watch:
        pass
    assert watch.noise.busy_share_of_others == pytest.approx(0.75)
    assert watch.noise.steal_share == pytest.approx(0.1)


def test_teamwork_is_read_off_a_chain_that_changes_nothing():
    team = Teamwork(2)
    assert team.share() > 0
    ones = np.ones((ROWS, WIDTH), dtype=np.float32)
    for threads in (1, 2):
        opened = session(_chain(), threads)
        np.testing.assert_array_equal(opened.run(None, {"x0": ones})[0], ones)
    assert [node.op_type for node in onnx.load_from_string(_chain()).graph.node] == ["MatMul"] * NUM_PRODUCTS
