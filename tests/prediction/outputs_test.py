"""What the frames of a recording share: steps of depth, ends of colour scales."""

import numpy as np
import pytest

from mdm_jax.prediction import frame_files, frames, inference, outputs, store


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize(("largest", "median"), [(18.0, 6.0), (900.0, 40.0)])
def test_all_depths_fit_where_none_is_far_beyond_the_others(largest, median, metric):
    step = outputs.png_step(largest, median, metric=metric)
    assert largest <= step * frame_files.LARGEST * (1 + 1e-6)
    if not metric:
        assert step == pytest.approx(largest / 65535)


@pytest.mark.parametrize("largest", [3e3, 3e6])
def test_what_is_far_beyond_the_others_does_not_change_their_steps(largest):
    assert outputs.png_step(largest, 5.0, metric=False) == pytest.approx(160 / 65535)
    # Of metres, the steps are KITTI's where 32 times the median is within its 256 m.
    assert outputs.png_step(largest, 5.0, metric=True) == 1 / 256
    assert outputs.png_step(largest, 50.0, metric=True) == pytest.approx(1600 / 65535)


@pytest.fixture
def overview(summary, tmp_path):
    """Returns a function from the limits of frames' motion to their overview."""

    def of_limits(limits):
        kept = store.Store(tmp_path, {}, overwrite=False)
        names = [f"{i:02d}" for i in range(len(limits))]
        for name, limit in zip(names, limits, strict=True):
            own = {} if limit is None else {"motion_limit": np.float32(limit)}
            kept.write(name, {**summary, **own})
        recording = frame_files.Recording(
            source=None, names=names, store=kept, view=None, intrinsics=None
        )
        return outputs.overview(recording)

    return of_limits


def test_motion_of_a_few_frames_sets_the_scale_and_not_the_noise_of_the_others(
    overview,
):
    traffic = [2.0, 3.0, 2.5, 2.5]
    everything = overview([0.0, 0.0, *([1e-3] * 10), *traffic, None])
    assert 2.0 <= everything.motion_limit <= 3.0
    assert everything.median_depth == 4.0 and everything.max_depth == 9.0


def test_one_wild_frame_does_not_dim_the_motion_of_all_others(overview):
    assert overview([*([2.0] * 40), 500.0]).motion_limit == pytest.approx(2.0)


@pytest.mark.parametrize("limits", [[0.0, 0.0], [None]])
def test_without_any_motion_there_is_still_a_scale(overview, limits):
    assert overview(limits).motion_limit == 1.0


def test_frames_without_any_motion_say_so(network, write_frames, tmp_path):
    def still(variables, arrays, step):
        maps = fake(variables, arrays, step)
        if "object_motion" in maps:
            maps["object_motion"][0] = 0.0
        return maps

    fake = network.predict
    object.__setattr__(network, "predict", still)
    (source,) = frames.open_sources(str(write_frames(3)))
    view = frames.make_view(source.size, (32, 48))
    kept = store.Store(tmp_path / "out", {}, overwrite=False)
    inference.predict_all(network, source, kept, view, intrinsics=None)
    limits = [
        float(kept.read(f"view_{i}", "motion_limit").popitem()[1]) for i in (0, 1)
    ]
    assert limits == [0.0, 0.5]
