"""Tests of flow files: each form gives back what was written, or a named error."""

import cv2
import numpy as np
import pytest

from mdm_jax.files.errors import DataError
from mdm_jax.flow import flow_files, flow_sources
from mdm_jax.flow.video_frame import Frame

H, W = 5, 7


def _flow():
    rng = np.random.default_rng(0)
    # Steps of 1/64, which KITTI's PNG keeps exactly.
    return (rng.integers(-900, 900, (H, W, 2)) / 64).astype(np.float32)


def _write_flo(path, flow):
    header = b"PIEH" + np.array(flow.shape[1::-1], "<i4").tobytes()
    path.write_bytes(header + flow.astype("<f4").tobytes())


def _write_kitti(path, flow, valid):
    values = np.zeros((*flow.shape[:2], 3), np.uint16)
    values[..., :2] = flow * 64 + 2**15
    values[..., 2] = valid
    cv2.imwrite(str(path), values[..., ::-1])


def test_flo_is_read_as_written_and_huge_values_are_unknown(tmp_path):
    flow = _flow()
    flow[1, 2] = 1e10
    _write_flo(tmp_path / "a.flo", flow)
    found = flow_files.read(tmp_path / "a.flo", size=(H, W))
    assert np.isnan(found[1, 2]).all()
    flow[1, 2] = np.nan
    np.testing.assert_array_equal(found, flow)


def test_kitti_png_is_read_as_written_and_invalid_pixels_are_unknown(tmp_path):
    flow, valid = _flow(), np.ones((H, W))
    valid[3, 4] = 0
    _write_kitti(tmp_path / "a.png", flow, valid)
    flow[3, 4] = np.nan
    found = flow_files.read(tmp_path / "a.png", size=(H, W))
    np.testing.assert_array_equal(found, flow)


@pytest.mark.parametrize("channels_first", [False, True])
def test_npz_is_read_in_either_order_of_axes(tmp_path, channels_first):
    flow = _flow()
    stored = np.moveaxis(flow, 2, 0) if channels_first else flow
    np.savez(tmp_path / "a.npz", flow=stored)
    found = flow_files.read(tmp_path / "a.npz", size=(H, W))
    np.testing.assert_array_equal(found, flow)


def test_broken_flow_files_are_named(tmp_path):
    flow = _flow()
    _write_flo(tmp_path / "cut.flo", flow)
    content = (tmp_path / "cut.flo").read_bytes()
    (tmp_path / "cut.flo").write_bytes(content[:-3])
    (tmp_path / "other.flo").write_bytes(b"JFIF" + content[4:])
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((H, W), np.uint8))
    np.savez(tmp_path / "none.npz", other=flow)
    for name, problem in {
        "cut.flo": "cut off",
        "other.flo": "PIEH",
        "grey.png": "16 bits",
        "none.npz": "NumPy",
        "absent.flo": "no such file",
        "a.txt": "expected flow as",
    }.items():
        with pytest.raises(DataError, match=problem) as error:
            flow_files.read(tmp_path / name, size=(H, W))
        assert name in str(error.value)


def test_flow_of_another_size_is_an_error(tmp_path):
    _write_flo(tmp_path / "a.flo", _flow())
    with pytest.raises(DataError, match="resized"):
        flow_files.read(tmp_path / "a.flo", size=(H, W + 1))


def test_a_folder_gives_flow_in_both_directions(tmp_path):
    images = np.zeros((2, H, W, 3), np.uint8)
    one, other = (Frame(i, f"{i:06d}", image) for i, image in enumerate(images))
    for direction, frame in (("forward", one), ("backward", other)):
        folder = tmp_path / "clip" / direction
        folder.mkdir(parents=True)
        _write_flo(folder / f"{frame.name}.flo", _flow() + frame.index)
    source = flow_sources.create(str(tmp_path), clip="clip")
    np.testing.assert_array_equal(source(one, other), _flow())
    np.testing.assert_array_equal(source(other, one), _flow() + 1)
    with pytest.raises(DataError, match=r"000001\.flo.*no such file"):
        source(other, Frame(2, "000002", images[0]))


def test_unknown_flow_sources_are_errors(tmp_path):
    with pytest.raises(ValueError, match="forward"):
        flow_sources.create(str(tmp_path))
    with pytest.raises(ValueError, match="no_such_module"):
        flow_sources.create("call:no_such_module.flow")


def test_a_callable_must_give_flow_of_the_frames(monkeypatch):
    frame = Frame(0, "a", np.zeros((H, W, 3), np.uint8))
    wrong = flow_sources.checked(lambda *_: np.zeros((H, W)), "mine.flow")
    with pytest.raises(ValueError, match=r"mine\.flow.*\(5, 7, 2\)"):
        wrong(frame, frame)


# Sample data.


def test_flow_of_the_samples_is_read(sample_data):
    folder = sample_data / "flow"
    found = flow_files.read(folder / "flo_pair" / "flow.flo", size=(320, 320))
    assert np.isclose(found[..., 0].min(), -18.3, atol=0.05)
    assert np.isclose(found[..., 0].max(), 29.3, atol=0.05)
    path = folder / "kitti2015" / "training" / "flow_occ" / "000000_10.png"
    found = flow_files.read(path, size=(375, 1242))
    known = np.isfinite(found[..., 0])
    assert known.sum() == 75453
    assert np.isclose(np.linalg.norm(found[known], axis=-1).mean(), 51.0, atol=0.05)
