"""Predictions of frames are stored, and those of other settings are not mixed in."""

import numpy as np
import pytest

from mdm_jax.prediction import frame_store


def test_frames_come_back_as_they_were_kept(tmp_path, summary):
    kept = frame_store.FrameStore(tmp_path, {"step": 3}, overwrite=False)
    depth = np.random.default_rng(0).uniform(size=(5, 7)).astype(np.float32)
    assert not kept.has("a")
    kept.write("a", {"depth": depth, **summary})
    again = frame_store.FrameStore(tmp_path, {"step": 3}, overwrite=False)
    assert again.has("a")
    np.testing.assert_array_equal(again.read("a")["depth"], depth)
    assert set(again.read("a", "depth", "rotation")) == {"depth"}


def test_other_settings_are_an_error_unless_they_overwrite(tmp_path):
    first = frame_store.FrameStore(
        tmp_path, {"step": 3, "size": (4, 5)}, overwrite=False
    )
    first.write("a", {"depth": np.ones((2, 3))})
    (tmp_path / "depth").mkdir()
    for name in ("notes.txt", "prediction.json", "trajectory_kitti.txt", "depth/a.png"):
        (tmp_path / name).write_text("of step 3")
    with pytest.raises(ValueError, match="step was 3 and is 4"):
        frame_store.FrameStore(tmp_path, {"step": 4, "size": (4, 5)}, overwrite=False)
    assert first.has("a")
    second = frame_store.FrameStore(
        tmp_path, {"step": 4, "size": (4, 5)}, overwrite=True
    )
    assert not second.has("a")
    # Nothing of ours is left to pass for the new; what is not ours is.
    assert {path.name for path in tmp_path.iterdir()} == {"network", "notes.txt"}


def test_a_damaged_frame_is_named(tmp_path):
    kept = frame_store.FrameStore(tmp_path, {}, overwrite=False)
    kept.write("a", {"depth": np.ones((20, 30))})
    path = kept.path("a")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"a\.npz is damaged"):
        kept.read("a")
