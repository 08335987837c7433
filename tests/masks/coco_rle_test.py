"""Tests of run lengths: decoding undoes a slow encoder written by the format's text."""

import numpy as np
import pytest

from mdm_jax.masks import coco_rle


def _runs(mask):
    """Lengths of runs down the columns, beginning with a run of 0."""
    runs, value = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, column] != value:
                runs.append(0)
                value = not value
            runs[-1] += 1
    return runs


def _text(runs):
    """COCO's compressed counts, one character after the other."""
    text = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            group = number & 31
            number >>= 5
            more = number != (-1 if group & 16 else 0)
            text += chr(48 + group + (32 if more else 0))
    return text


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (40, 61)])
def test_decoding_undoes_encoding(size, share):
    mask = np.random.default_rng(0).random(size) < share
    runs = _runs(mask)
    for counts in (runs, _text(runs), _text(runs).encode()):
        np.testing.assert_array_equal(coco_rle.decode(counts, size), mask)


def test_long_runs_take_several_characters():
    mask = np.zeros((300, 400), bool)
    mask[10:290, 100:300] = True
    counts = _text(_runs(mask))
    np.testing.assert_array_equal(coco_rle.decode(counts, (300, 400)), mask)


@pytest.mark.parametrize("value", [False, True])
def test_a_mask_of_one_value_is_decoded(value):
    mask = np.full((4, 6), value)
    np.testing.assert_array_equal(coco_rle.decode(_text(_runs(mask)), (4, 6)), mask)


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ([3, 4], "add up to 7"),
        ("", "add up to 0"),
        ([-3, 13], "non-negative"),
        ("0\x7f0", "characters"),
        ("5Ä", "characters"),
        ("5o", "truncated"),
        ("oooooooo0", "too large"),
    ],
)
def test_what_is_no_mask_of_the_size_is_an_error(counts, problem):
    with pytest.raises(ValueError, match=problem):
        coco_rle.decode(counts, (2, 5))
