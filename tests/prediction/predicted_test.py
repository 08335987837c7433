"""Colour scales suit all frames of a recording."""

import numpy as np
import pytest

from mdm_jax.geometry import view as view_lib
from mdm_jax.prediction import frame_store, inputs, predicted, predicting


@pytest.fixture
def statistics(summary, tmp_path):
    """Returns a function from the limits of frames' motion to their statistics."""

    def of_limits(limits):
        store = frame_store.FrameStore(tmp_path, {}, overwrite=False)
        names = [f"{i:02d}" for i in range(len(limits))]
        for name, limit in zip(names, limits, strict=True):
            own = {} if limit is None else {"motion_limit": np.float32(limit)}
            store.write(name, {**summary, **own})
        return predicted.statistics(store, names)

    return of_limits


def test_motion_of_a_few_frames_sets_the_scale_and_not_the_noise_of_the_others(
    statistics,
):
    traffic = [2.0, 3.0, 2.5, 2.5]
    result = statistics([0.0, 0.0, *([1e-3] * 10), *traffic, None])
    assert 2.0 <= result.motion_limit <= 3.0
    assert result.median_depth == 4.0 and result.max_depth == 9.0


def test_one_wild_frame_does_not_dim_the_motion_of_all_others(statistics):
    assert statistics([*([2.0] * 40), 500.0]).motion_limit == pytest.approx(2.0)


@pytest.mark.parametrize("limits", [[0.0, 0.0], [None]])
def test_without_any_motion_there_is_still_a_scale(statistics, limits):
    assert statistics(limits).motion_limit == 1.0


def test_the_motion_limit_of_a_static_frame_is_zero(
    model, altered, write_frames, tmp_path
):
    def still(maps, _):
        if "object_motion" in maps:
            maps["object_motion"][0] = 0.0
        return maps

    altered(model, still)
    (source,) = inputs.open_sources(str(write_frames(3)))
    view = view_lib.centred(source.size, (32, 48))
    store = frame_store.FrameStore(tmp_path / "out", {}, overwrite=False)
    predicting.predict_frames(model, inputs.Input(source, view), store)
    limits = [float(store.read(f"view_{i}")["motion_limit"]) for i in (0, 1)]
    assert limits == [0.0, 0.5]
