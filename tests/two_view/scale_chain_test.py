"""Tests of the trajectory: scale carried from pair to pair, through stops and turns."""

import itertools

import numpy as np
import pytest

from mdm_jax.two_view import front_end, scale_chain
from tests.two_view import corridors


def _chain(cameras, **options):
    chain = scale_chain.Chain()
    for first, second in itertools.pairwise(cameras):
        flow, backward, *_ = corridors.pair(first, second)
        chain.add(*front_end.front_end(flow, backward, corridors.INTRINSICS, **options))
    return chain


def _check(chain, cameras):
    # The drive's unit is the length of its first step.
    unit = np.linalg.norm(cameras[1][:3, 3] - cameras[0][:3, 3])
    relative = [np.linalg.inv(cameras[0]) @ camera for camera in cameras]
    for found, true in zip(chain.world_from_camera, relative, strict=True):
        np.testing.assert_allclose(found[:3, 3] * unit, true[:3, 3], atol=0.02)
        assert corridors.angle(found[:3, :3], true[:3, :3]) < 0.05


def _drive(steps, angles=0.0):
    z = np.cumsum([0.0, *steps])
    turns = np.broadcast_to(angles, len(z)) * np.arange(len(z))
    return [
        corridors.pose(angles=(0, turn, 0), position=(0, 0, at))
        for at, turn in zip(z, turns)
    ]


def test_changing_speed_is_followed():
    cameras = _drive([0.8, 1.0, 0.6, 0.9], angles=0.01)
    chain = _chain(cameras)
    _check(chain, cameras)
    lengths = [step.length for step in chain.steps]
    np.testing.assert_allclose(lengths, np.array([0.8, 1.0, 0.6, 0.9]) / 0.8, rtol=0.02)
    assert all(step.carried for step in chain.steps)


def test_scale_is_carried_through_a_stop():
    cameras = _drive([0.8, 0.7, 0, 0, 1.0])
    chain = _chain(cameras)
    _check(chain, cameras)
    assert [step.length for step in chain.steps][2:4] == [0, 0]
    assert chain.steps[-1].carried


def test_after_a_turn_on_the_spot_the_last_length_is_assumed_and_said_so():
    cameras = [
        corridors.pose(),
        corridors.pose(position=(0, 0, 0.8)),
        corridors.pose(angles=(0, 0.05, 0), position=(0, 0, 0.8)),
        corridors.pose(angles=(0, 0.05, 0), position=(0, 0, 1.6)),
    ]
    chain = _chain(cameras)
    assert [step.carried for step in chain.steps] == [True, True, False]
    assert chain.steps[2].length == pytest.approx(1)
    assert corridors.angle(chain.steps[1].earlier_from_later[:3, :3], np.eye(3)) > 2
    _check(chain, cameras)
