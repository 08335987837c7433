import numpy as np

from mdm_jax.methods import frame_pairs


def test_both_directions_of_every_adjacent_pair_are_neighbours():
    indices = frame_pairs.of_clip(4)
    assert indices.target == (0, 1, 1, 2, 2, 3)
    assert indices.source == (1, 0, 2, 1, 3, 2)
    np.testing.assert_array_equal(frame_pairs.opposite(indices), [1, 0, 3, 2, 5, 4])


def test_values_of_targets_and_sources_have_clips_leading():
    values = np.arange(6).reshape(2, 3)  # 2 clips of 3 frames
    target, source = frame_pairs.of_clip(3)
    np.testing.assert_array_equal(
        frame_pairs.select(values, target), [0, 1, 1, 2, 3, 4, 4, 5]
    )
    np.testing.assert_array_equal(
        frame_pairs.select(values, source), [1, 0, 2, 1, 4, 3, 5, 4]
    )
