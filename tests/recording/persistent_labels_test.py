"""Tests that objects keep their ids while labels are numbered anew in each frame."""

import numpy as np
import pytest

from mdm_jax.recording import persistent_labels

SIZE = (17, 40)


def _frame(boxes, numbers):
    """Labels of boxes (y0, y1, x0, x1) under given numbers."""
    labels = np.zeros(SIZE, np.uint8)
    for (y0, y1, x0, x1), number in zip(boxes, numbers, strict=True):
        labels[y0:y1, x0:x1] = number
    return labels


def _persistent(frames):
    return list(persistent_labels.persistent(frames))


def test_moving_objects_keep_their_ids_under_any_numbering():
    rng = np.random.default_rng(0)
    frames, boxes = [], []
    for step in range(12):
        boxes.append(
            [
                (2, 9, step, step + 8),
                (8, 16, 30 - 2 * step, 38 - 2 * step),
                (1, 4, 20, 26),
            ]
        )
        frames.append(_frame(boxes[-1], rng.permutation(np.arange(1, 200))[:3]))
    made = _persistent(frames)
    assert made[0].dtype == np.uint8
    ids = [made[0][y0, x0] for y0, _, x0, _ in boxes[0]]
    assert sorted(ids) == [1, 2, 3]
    # The first two cross, the second in front: what it covers is gone from the first.
    for places, frame, labels in zip(boxes, frames, made, strict=True):
        expected = _frame(places, ids)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(labels > 0, frame > 0)


def test_a_jump_is_a_new_object_and_its_id_is_free_later():
    first = _frame([(2, 8, 3, 9)], [7])
    jumped = _frame([(2, 8, 7, 13)], [7])  # IoU 1 / 5
    labels = _persistent([first, jumped, first])
    assert [frame.max() for frame in labels] == [1, 2, 3]
    rested = _persistent([first, *[np.zeros(SIZE, np.uint8)] * 40, jumped])
    assert rested[-1].max() == 1


def test_half_an_objects_width_is_not_too_far():
    steps = [_frame([(2, 8, x, x + 10)], [x + 1]) for x in (0, 5, 10, 15)]
    assert [frame.max() for frame in _persistent(steps)] == [1] * 4


def test_the_best_overlap_decides_between_neighbours():
    one = _frame([(2, 8, 2, 12), (2, 8, 13, 23)], [1, 2])
    other = _frame([(2, 8, 6, 16), (2, 8, 17, 27)], [9, 4])
    # Moved by 4 of 10: 9 overlaps both objects, and the first one more.
    assert persistent_labels.matches(one, other) == [(1, 9), (2, 4)]


def test_an_object_for_which_no_id_is_free_becomes_background():
    many = np.zeros((7, 255), np.uint8)
    many[:3] = np.arange(1, 256)[None, :]
    few = np.zeros_like(many)
    few[:3, :50] = many[:3, :50]
    few[4:, 60:90] = 77
    first, second = _persistent([many, few])
    assert set(first[0]) == set(range(1, 256))
    np.testing.assert_array_equal(second[:3, :50], first[:3, :50])
    assert not second[4:].any()


@pytest.mark.parametrize("count", [0, 1])
def test_short_recordings(count):
    frames = [_frame([(2, 8, 3, 9)], [5])] * count
    assert [frame.max() for frame in _persistent(frames)] == [1] * count
