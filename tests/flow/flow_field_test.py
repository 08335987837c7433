"""Tests of flow: what is seen twice, and reading through it."""

import cv2
import numpy as np
import pytest

from mdm_jax.files import image_file
from mdm_jax.flow import flow_field, flow_files, flow_sources
from mdm_jax.flow.video_frame import Frame

H, W = 11, 17


def _constant(x, y):
    return np.full((H, W, 2), (x, y), np.float32)


def test_flow_and_its_reverse_agree_where_the_end_is_in_the_image():
    seen = flow_field.consistent(_constant(4, -2), _constant(-4, 2))
    expected = np.zeros((H, W), bool)
    expected[2:, : W - 4] = True
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    ("forward", "backward", "agrees"),
    [(0, 2.9, True), (0, 3.1, False), (100, -95.1, True), (100, -94.9, False)],
)
def test_an_error_below_3_pixels_or_a_twentieth_of_the_flow_is_allowed(
    forward, backward, agrees
):
    wide = np.zeros((2, 120, 2), np.float32)
    wide[..., 0] = forward
    back = np.zeros_like(wide)
    back[..., 0] = backward
    assert flow_field.consistent(wide, back)[0, 3] == agrees


def test_unknown_flow_is_never_consistent():
    forward, backward = _constant(1, 0), _constant(-1, 0)
    forward[3, 4] = np.nan
    backward[6, 8] = np.nan
    seen = flow_field.consistent(forward, backward)
    # (6, 7) ends where nothing is known; interpolation may lose its neighbours, too.
    assert not seen[3, 4]
    assert not seen[6, 7]
    assert seen[:, : W - 1].sum() >= H * (W - 1) - 5


def test_ground_that_an_object_covers_next_is_not_consistent():
    # A box moves 3 pixels to the right over ground at rest.
    forward, backward = _constant(0, 0), _constant(0, 0)
    forward[2:8, 4:9, 0], backward[2:8, 7:12, 0] = 3, -3
    seen = flow_field.consistent(forward, backward, tolerance=1)
    assert not seen[2:8, 9:12].any()
    assert seen[2:8, 4:9].all()
    assert seen[:, :4].all()


def test_composed_flow_goes_where_both_go():
    rng = np.random.default_rng(1)
    first = _constant(3, 1)
    second = rng.uniform(-1, 1, (H, W, 2)).astype(np.float32)
    both = flow_field.compose(first, second)
    np.testing.assert_allclose(
        both[: H - 1, : W - 3], first[: H - 1, : W - 3] + second[1:, 3:], atol=1e-6
    )
    assert np.isnan(both[H - 1]).all()
    assert np.isnan(both[:, W - 3 :]).all()


def test_labels_are_read_from_the_nearest_pixel_and_0_outside():
    labels = np.arange(1, H * W + 1).reshape(H, W)
    moved = flow_field.labels_through(_constant(2.4, -0.6), labels)
    np.testing.assert_array_equal(moved[1:, : W - 3], labels[:-1, 2 : W - 1])
    assert (moved[0] == 0).all()
    assert (moved[:, W - 2 :] == 0).all()


def test_dis_finds_the_flow_of_a_textured_pan():
    noise = np.random.default_rng(0).integers(0, 255, (96, 220, 3)).astype(np.uint8)
    ground = cv2.GaussianBlur(noise, (5, 5), 1.2)
    one, other = Frame(0, "", ground[:, :208]), Frame(1, "", ground[:, 2:210])
    error = flow_sources.dense_inverse_search(one, other) - (-2, 0)
    assert np.mean(np.linalg.norm(error, axis=-1) < 0.5) > 0.95


# Sample data.


def test_what_dis_flow_is_consistent_about_is_right_more_often_on_kitti(sample_data):
    root = sample_data / "flow" / "kitti2015" / "training"
    images = [image_file.read(root / f"image_2/000000_{i}.png") for i in (10, 11)]
    size = images[0].shape[:2]
    true = flow_files.read(root / "flow_occ" / "000000_10.png", size=size)
    one, other = (Frame(i, "", image) for i, image in enumerate(images))
    forward = flow_sources.dense_inverse_search(one, other)
    seen = flow_field.consistent(forward, flow_sources.dense_inverse_search(other, one))
    known = np.isfinite(true[..., 0])
    x = np.arange(size[1])[None, :] + np.where(known, true[..., 0], 0)
    y = np.arange(size[0])[:, None] + np.where(known, true[..., 1], 0)
    inside = (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)
    error = np.linalg.norm(forward - true, axis=-1)
    right = error < np.maximum(3, 0.05 * np.linalg.norm(true, axis=-1))
    leaving, staying = known & ~inside, known & inside
    assert np.mean(~seen[leaving]) > 0.6
    assert np.mean(right[staying & seen]) > np.mean(right[staying]) + 0.15
    assert np.mean(seen[staying & right]) > 0.9
