"""Tests of regions fixed to the camera: found where they are, and nowhere else."""

import numpy as np

from mdm_jax.two_view import front_end, still_regions
from tests.two_view import corridors

TURN = 0.02


def _accumulate(paint, count=8, turn=TURN):
    """Returns the mask after a drive whose images and flow `paint` changes in place."""
    accumulator = still_regions.Accumulator(
        (corridors.H, corridors.W), corridors.INTRINSICS
    )
    for index in range(count):
        first = corridors.pose((0, turn * index, 0), (0, 0, 0.8 * index))
        second = corridors.pose((0, turn * (index + 1), 0), (0, 0, 0.8 * (index + 1)))
        flow, backward, *_ = corridors.pair(first, second)
        image = corridors.image(first)
        paint(image, flow, backward)
        ahead, _ = front_end.front_end(flow, backward, corridors.INTRINSICS)
        accumulator.add(image, flow, ahead.median_flow, ahead.pose)
    return accumulator.mask()


def _hood(image, flow, backward):
    stripes = 100 + 100 * (np.indices((10, corridors.W)).sum(0) // 4 % 2)
    image[-10:] = stripes[..., None]
    flow[-10:], backward[-10:] = 0, 0


def test_a_hood_is_found_and_nothing_else():
    mask = _accumulate(_hood)
    assert mask[-9:].mean() > 0.95
    assert mask[:-14].mean() < 0.02


def test_a_drive_without_anything_fixed_has_an_empty_mask():
    assert not _accumulate(lambda *_: None).any()


def test_a_bland_road_without_flow_is_not_taken_for_the_hood():
    def fade(image, flow, backward):
        # Texture fades towards the camera, so that no flow is found there.
        contrast = np.linspace(1, 0, 20)[:, None, None]
        image[-24:-4] = 120 + contrast * (image[-24:-4].astype(float) - 120)
        image[-4:] = 120
        flow[-10:], backward[-10:] = 0, 0

    assert not _accumulate(fade, count=20, turn=0.005).any()


def test_a_standing_camera_gives_no_evidence():
    accumulator = still_regions.Accumulator(
        (corridors.H, corridors.W), corridors.INTRINSICS
    )
    image, flow = corridors.image(corridors.pose()), np.zeros((60, 104, 2), np.float32)
    for _ in range(10):
        accumulator.add(image, flow, 0.0, None)
    assert not accumulator.mask().any()
