"""Tests of matching: tables of overlaps against a slow loop, and who belongs to whom."""

import numpy as np
import pytest

from mdm_jax.annotation import matching
from mdm_jax.flow import flow_field

H, W = 9, 14


def _random_case(seed):
    rng = np.random.default_rng(seed)
    owners_a = rng.integers(0, 4, (H, W))
    owners_b = rng.integers(0, 6, (H, W))
    flow = rng.uniform(-4, 4, (H, W, 2)).astype(np.float32)
    return owners_a, owners_b, flow, rng.random((H, W)) < 0.7


def test_overlaps_equal_those_of_a_loop_over_masks():
    owners_a, owners_b, flow, visible = _random_case(0)
    found = matching.overlap(owners_a, owners_b, flow, visible, counts=(3, 5))
    moved = flow_field.labels_through(flow, owners_b)
    for i in range(3):
        for j in range(5):
            one = (owners_a == i + 1) & visible
            other = (moved == j + 1) & visible
            common = (one & other).sum()
            union = (one | other).sum()
            assert found.common[i, j] == common
            assert np.isclose(found.iou[i, j], common / max(union, 1))
            smaller = min(one.sum(), other.sum())
            assert np.isclose(found.containment[i, j], common / max(smaller, 1))


def test_a_mask_moved_by_its_flow_overlaps_itself_fully():
    one, other = np.zeros((2, H, W), np.int64)
    one[2:5, 3:6], other[4:7, 8:11] = 1, 2
    flow = np.full((H, W, 2), (5, 2), np.float32)
    visible = np.ones((H, W), bool)
    found = matching.overlap(one, other, flow, visible, counts=(1, 2))
    np.testing.assert_array_equal(found.iou, [[0, 1]])


def test_a_match_is_mutual_and_above_the_threshold():
    iou = np.array([[0.9, 0.6, 0.0], [0.7, 0.2, 0.0], [0.0, 0.0, 0.4]])
    # 0 prefers 0 and is preferred; 1 prefers 0, which does not; 2 and 2 are too low.
    np.testing.assert_array_equal(matching.mutual_best(iou, iou.T), [[0, 0]])
    low = matching.mutual_best(iou, iou.T, threshold=0.3)
    np.testing.assert_array_equal(low, [[0, 0], [2, 2]])


def test_both_views_must_exceed_the_threshold():
    assert not len(matching.mutual_best(np.array([[0.8]]), np.array([[0.5]])))
    assert len(matching.mutual_best(np.array([[0.8]]), np.array([[0.51]])))


@pytest.mark.parametrize("counts", [(0, 3), (3, 0), (0, 0)])
def test_nothing_matches_nothing(counts):
    iou = np.zeros(counts)
    assert matching.mutual_best(iou, iou.T).shape == (0, 2)


def test_no_object_has_two_partners():
    rng = np.random.default_rng(3)
    for _ in range(20):
        iou_ab, iou_ba = rng.random((6, 4)), rng.random((4, 6))
        pairs = matching.mutual_best(iou_ab, iou_ba, threshold=0.1)
        assert len(set(pairs[:, 0])) == len(pairs) == len(set(pairs[:, 1]))


def _still(owners_a, owners_b, counts, visible=None):
    flow = np.zeros((H, W, 2), np.float32)
    every = np.ones((H, W), bool)
    seen = every if visible is None else visible
    views = []
    for pixels in (seen, every):
        from_a = matching.overlap(owners_a, owners_b, flow, pixels, counts=counts)
        from_b = matching.overlap(owners_b, owners_a, flow, pixels, counts=counts[::-1])
        views.append(matching.Views(from_a, from_b))
    return views


def test_leniently_the_largest_piece_continues_a_mask_that_fell_apart():
    whole, pieces = np.zeros((2, H, W), np.int64)
    whole[1:8, 2:12] = 1
    pieces[1:8, 2:6], pieces[1:8, 6:12] = 1, 2
    pieces[1:8, 6:8] = 0
    views = _still(whole, pieces, (1, 2))
    assert not len(matching.match(*views, lenient=False))
    pairs = matching.match(*views)
    assert len(pairs) == 1
    assert pairs[0, 0] == 0


def test_leniently_a_mask_that_is_hardly_seen_twice_is_compared_as_a_whole():
    one, other = np.zeros((2, H, W), np.int64)
    one[1:6, 2:9], other[1:6, 3:9] = 1, 1
    views = _still(one, other, (1, 1), visible=np.zeros((H, W), bool))
    assert not len(matching.match(*views, lenient=False))
    np.testing.assert_array_equal(matching.match(*views), [[0, 0]])


def test_neighbours_that_touch_do_not_match():
    one, other = np.zeros((2, H, W), np.int64)
    one[1:6, 2:6], other[1:6, 5:9] = 1, 1
    assert not len(matching.match(*_still(one, other, (1, 1))))
