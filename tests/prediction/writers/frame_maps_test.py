"""16-bit depth maps have fine steps, whatever the sky is."""

import pytest

from mdm_jax.prediction.writers import frame_maps


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize(("largest", "median"), [(18.0, 6.0), (900.0, 40.0)])
def test_all_depths_fit_where_none_is_far_beyond_the_others(largest, median, metric):
    step = frame_maps.png_step(largest, median, metric=metric)
    assert largest <= step * frame_maps.LARGEST * (1 + 1e-6)
    if not metric:
        assert step == pytest.approx(largest / 65535)


@pytest.mark.parametrize("largest", [3e3, 3e6])
def test_what_is_far_beyond_the_others_does_not_change_their_steps(largest):
    assert frame_maps.png_step(largest, 5.0, metric=False) == pytest.approx(160 / 65535)
    # Of metres, the steps are KITTI's where 32 times the median is within its 256 m.
    assert frame_maps.png_step(largest, 5.0, metric=True) == 1 / 256
    assert frame_maps.png_step(largest, 50.0, metric=True) == pytest.approx(
        1600 / 65535
    )
