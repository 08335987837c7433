"""Tests of the Waymo v2 reader: the same segment as in v1, read from tables."""

import builtins

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.recording import opening
from mdm_jax.sources import waymo_v2


def _change(root, component, change):
    """Rewrites a table with its rows, as dictionaries, changed."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = root / component / "segment.parquet"
    rows = parquet.read_table(path).to_pylist()
    parquet.write_table(pyarrow.Table.from_pylist(change(rows)), path)


def test_both_releases_of_a_segment_read_alike(tiny, tmp_path):
    (first,) = sources.open_sources("waymo_v1", tiny.waymo_v1(tmp_path / "v1"))
    (second,) = sources.open_sources("waymo_v2", tiny.waymo_v2(tmp_path / "v2"))
    assert first.name == second.name == "segment"
    np.testing.assert_array_equal(first.intrinsics, second.intrinsics)
    np.testing.assert_array_equal(first.timestamps(), second.timestamps())
    np.testing.assert_array_equal(first.world_from_camera(), second.world_from_camera())
    for index in range(2):
        np.testing.assert_array_equal(first.image(index), second.image(index))
        np.testing.assert_array_equal(first.labels(index), second.labels(index))
        assert len(first.points(index)) > 2
        np.testing.assert_array_equal(first.points(index), second.points(index))


def test_components_that_were_not_downloaded_are_unknown(tiny, tmp_path):
    root = tiny.waymo_v2(tmp_path)
    (root / "lidar_pose" / "segment.parquet").unlink()
    (root / "camera_segmentation" / "segment.parquet").unlink()
    (drive,) = sources.open_sources("waymo_v2", root)
    assert drive.points(0) is None
    assert drive.labels(0) is None


def test_a_frame_without_labels_is_unknown(tiny, tmp_path):
    root = tiny.waymo_v2(tmp_path)
    _change(root, "camera_segmentation", lambda rows: rows[:1])
    (drive,) = sources.open_sources("waymo_v2", root)
    assert drive.labels(0) is None
    assert drive.labels(1) is not None


def test_split_folders_are_looked_into(tiny, tmp_path):
    tiny.waymo_v2(tmp_path / "training")
    assert len(sources.open_sources("waymo_v2", tmp_path)) == 1
    assert len(sources.open_sources("waymo_v2", tmp_path, split="training")) == 1
    with pytest.raises(sources.DataError, match="testing: no such file"):
        sources.open_sources("waymo_v2", tmp_path, split="testing")


@pytest.mark.parametrize(
    ("component", "column"),
    [
        ("camera_image", "key.camera_name"),
        ("camera_calibration", "[CameraCalibrationComponent].intrinsic.k2"),
    ],
)
def test_a_missing_column_is_named(tiny, tmp_path, component, column):
    root = tiny.waymo_v2(tmp_path)

    def drop(rows):
        return [{k: v for k, v in row.items() if k != column} for row in rows]

    _change(root, component, drop)
    with pytest.raises(sources.DataError) as caught:
        sources.open_sources("waymo_v2", root)
    assert str(caught.value).endswith(
        f"{component}/segment.parquet: has no column {column}"
    )


def test_another_lens_makes_the_frames_anew(tiny, tmp_path):
    root = tiny.waymo_v2(tmp_path / "raw")
    options = {"size": (20, 36), "cache_dir": tmp_path / "cache"}

    def frames():
        drives = sources.open_sources("waymo_v2", root)
        (made,) = opening.open_recordings(drives, **options)
        return made.frames

    first = frames()
    assert frames().filename == first.filename
    column = "[CameraCalibrationComponent].intrinsic.k1"
    _change(
        root,
        "camera_calibration",
        lambda rows: [{**row, column: row[column] + 0.4} for row in rows],
    )
    assert (frames() != first).any()


def test_a_missing_row_is_named(tiny, tmp_path):
    root = tiny.waymo_v2(tmp_path)
    _change(root, "vehicle_pose", lambda rows: rows[1:])
    (drive,) = sources.open_sources("waymo_v2", root)
    with pytest.raises(
        sources.DataError, match=r"vehicle_pose.*has no row for the time"
    ):
        drive.points(1)


def test_a_cut_table_is_named(tiny, tmp_path):
    root = tiny.waymo_v2(tmp_path)
    path = root / "camera_image" / "segment.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(sources.DataError, match=r"camera_image.*is it truncated"):
        sources.open_sources("waymo_v2", root)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    genuine = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install 'mdm_jax\[waymo\]'"):
        sources.open_sources("waymo_v2", tmp_path)


def test_the_genuine_front_image_reads_from_a_table(sample_data, tmp_path):
    # No table could be had: the genuine record's image and calibration, as a table.
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (first,) = sources.open_sources("waymo_v1", sample_data / "waymo_frame_tfrecord")
    frame = first._frame(0)
    camera = first.calibration
    names = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
    values = [*camera.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], *camera.distortion]
    vehicle_from_sensor = camera.vehicle_from_camera @ np.linalg.inv(
        np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    )
    key = {"key.camera_name": 1}
    calibration = "[CameraCalibrationComponent]."
    tables = {
        "camera_calibration": {
            **key,
            **{f"{calibration}intrinsic.{n}": v for n, v in zip(names, values)},
            f"{calibration}extrinsic.transform": vehicle_from_sensor.ravel().tolist(),
            f"{calibration}width": 1920,
            f"{calibration}height": 1280,
        },
        "camera_image": {
            **key,
            "key.frame_timestamp_micros": 1553735853462203,
            "[CameraImageComponent].image": frame.jpeg(1),
            "[CameraImageComponent].pose.transform": frame.world_from_vehicle_at_image(
                1
            )
            .ravel()
            .tolist(),
        },
    }
    for component, row in tables.items():
        (tmp_path / component).mkdir()
        table = pyarrow.Table.from_pylist([row])
        parquet.write_table(table, tmp_path / component / f"{first.name}.parquet")
    (second,) = sources.open_sources("waymo_v2", tmp_path)
    assert isinstance(second, waymo_v2.WaymoDrive)
    assert (second.name, second.size) == (first.name, first.size)
    np.testing.assert_array_equal(second.image(0), first.image(0))
    np.testing.assert_allclose(second.world_from_camera(), first.world_from_camera())
