"""Tests of the ways to give intrinsics."""

import numpy as np
import pytest

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.sources import intrinsics_file

SIZE = (40, 64)
MATRIX = np.array([[50.5, 0, 31], [0, 52, 19.25], [0, 0, 1]])


def _resolve(specification, **options):
    return intrinsics_file.resolve(specification, size=SIZE, **options)


@pytest.mark.parametrize(
    "text",
    [
        "50.5,52,31,19.25",
        "  50.5 52\t31 19.25\n",
        "50.5,0,31,0,52,19.25,0,0,1",
        "50.5 0 31\n0 52 19.25\n0 0 1\n",
    ],
)
def test_four_or_nine_numbers_inline_or_in_a_file(tmp_path, text):
    path = tmp_path / "cam.txt"
    path.write_text(f"# fx fy cx cy or K\n{text}")
    np.testing.assert_array_equal(_resolve(text), MATRIX)
    np.testing.assert_array_equal(_resolve(str(path)), MATRIX)
    np.testing.assert_array_equal(
        _resolve("", candidates=(tmp_path / "none.txt", path)), MATRIX
    )


def test_field_of_view_reaches_from_edge_to_edge():
    matrix = _resolve("fov:90")
    # The outer edges of the image lie half a pixel beyond the outer centres.
    left = (-0.5 - matrix[0, 2]) / matrix[0, 0]
    right = (SIZE[1] - 0.5 - matrix[0, 2]) / matrix[0, 0]
    np.testing.assert_allclose([left, right], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(matrix[1, 1], matrix[0, 0])
    np.testing.assert_allclose(matrix[1, 2], (SIZE[0] - 1) / 2)


def test_learned_means_unknown_and_starts_at_the_guess():
    assert _resolve("learned") is None
    guess = intrinsics_lib.initial_guess(SIZE)
    np.testing.assert_array_equal(guess, [[52, 0, 31.5], [0, 52, 19.5], [0, 0, 1]])


@pytest.mark.parametrize("text", ["50", "50,52,31", "1 2 3 4 5 6 7 8 9 10"])
def test_a_wrong_count_of_numbers(text):
    with pytest.raises(ValueError, match="expected four numbers.*or nine"):
        _resolve(text)


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "cam.txt"
    path.write_text("fx: 50")
    with pytest.raises(ValueError, match="cam.txt: expected four.*got other text"):
        _resolve(str(path))


def test_skew_and_transposed_matrices():
    with pytest.raises(ValueError, match="no skew"):
        _resolve("50 1 31 0 52 19 0 0 1")
    with pytest.raises(ValueError, match="fx 0 cx 0 fy cy 0 0 1"):
        _resolve("50 0 0 0 52 0 31 19 1")


@pytest.mark.parametrize("text", ["fov:", "fov:wide", "fov:0", "fov:180", "fov:60,40"])
def test_a_wrong_field_of_view(text):
    with pytest.raises(ValueError, match="degrees between 0 and 180"):
        _resolve(text)


def test_neither_numbers_nor_a_file():
    with pytest.raises(FileNotFoundError, match="'camera' are neither.*'learned'"):
        _resolve("camera")


def test_nothing_given_and_nothing_found_lists_the_options(tmp_path):
    with pytest.raises(FileNotFoundError, match="walk: no intrinsics.*cam.txt.*fov:"):
        _resolve("", candidates=(tmp_path / "cam.txt",), source="walk")


def test_normalised_or_too_large_intrinsics():
    with pytest.raises(ValueError, match="for walk: .*pixels"):
        _resolve("0.8,1.2,0.5,0.5", source="walk")
    with pytest.raises(ValueError, match="for walk: "):
        _resolve("700,700,320,190", source="walk")
