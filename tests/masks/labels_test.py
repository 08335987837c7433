"""Tests of masks for training: labels persist, follow the frames, and lie on disk once."""

import logging
import types

import cv2
import numpy as np
import pytest

from mdm_jax.files.errors import DataError
from mdm_jax.masks import instances, labels, mask_files, mask_set
from mdm_jax.recording import own_recordings
from mdm_jax.synthetic import rendered_drives

N, H, W = 4, 48, 80


def _labels():
    found = np.zeros((N, H, W), np.uint16)
    for i in range(N):
        found[i, 4 + i : 24 + i, 10:40] = 26_003
        found[i, 30:44, 50 - 5 * i : 70 - 5 * i] = 24_001
    return found


def _write(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        assert cv2.imwrite(str(folder / f"{i:04d}.png"), image)
    return folder


def _frames(labels_):
    """Frames whose red tells the object: labels can be checked against colours."""
    frames = np.zeros((*labels_.shape, 3), np.uint8)
    frames[..., 2] = np.where(labels_ == 26_003, 200, np.where(labels_ > 0, 100, 0))
    frames[..., 0] = np.arange(W)[None, None, :]
    return frames


@pytest.fixture
def drive(tmp_path):
    _write(tmp_path / "drive", _frames(_labels()))
    return _write(tmp_path / "masks" / "drive", _labels()).parent.parent


def _open(root, size, masks="masks", **options):
    return own_recordings.open_video(
        root / "drive",
        size=size,
        crop=(0.0, 0.1, 0.0, 0.0),
        intrinsics="fov:60",
        cache_dir=root / "cache",
        masks=mask_set.MaskSet(root=str(root / masks), **options),
    )


@pytest.mark.parametrize("size", [(32, 56), (43, 80), (60, 100)])
def test_labels_are_cut_and_resized_as_the_frames(drive, size):
    (recording,) = _open(drive, size)
    found = recording.instance_labels
    assert found.dtype == np.uint8
    assert isinstance(found, np.memmap)
    red = recording.frames[..., 0].astype(int)
    # Where no edge is near, colour and label tell the same.
    car, person = np.abs(red - 200) < 2, np.abs(red - 100) < 2
    assert min(car.sum(), person.sum()) > 500
    assert len(np.unique(found[car])) == 1
    assert len(np.unique(found[person])) == 1
    assert found[car][0] != found[person][0]
    assert not found[red == 0].any()


def test_labels_are_read_once_and_again_after_a_change(drive, monkeypatch):
    _open(drive, (32, 56))
    with monkeypatch.context() as patch:
        patch.setattr(
            labels, "assign_labels", lambda *_, **__: pytest.fail("read again")
        )
        _open(drive, (32, 56))
    changed = drive / "masks" / "drive" / "0000.png"
    cv2.imwrite(str(changed), np.zeros((H, W), np.uint16))
    (recording,) = _open(drive, (32, 56))
    assert not recording.instance_labels[0].any()
    assert recording.instance_labels[1].any()


def test_a_failure_leaves_no_labels_behind(drive):
    (drive / "masks" / "drive" / "0002.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DataError, match=r"0002\.png"):
        _open(drive, (32, 56))
    left = [path.name for path in (drive / "cache").iterdir()]
    assert not [name for name in left if "masks" in name or ".part" in name]


def test_missing_masks_are_told_before_anything_is_decoded(drive):
    (drive / "masks" / "drive" / "0002.png").unlink()
    with pytest.raises(DataError, match="1 of 4 frames have no masks: 0002"):
        _open(drive, (32, 56))
    assert not (drive / "cache").exists()


def test_masks_without_tracks_ask_for_annotation(drive):
    masks = mask_files.MaskFiles(
        files=(drive,),
        file_of_frame=(drive,) * N,
        tracked=False,
        read=lambda _: None,
    )
    with pytest.raises(DataError, match=r"no track_id.*mdm_jax\.annotate"):
        next(labels.label_maps(masks, "drive", lambda x: x))


def test_small_ids_are_kept_and_others_numbered_largest_first():
    first, last = np.zeros(3, int), np.full(3, 5)
    area = np.array([10, 30, 20])
    kept = labels.free_labels(np.array([3, 255, 7]), first, last, area)
    np.testing.assert_array_equal(kept, [3, 255, 7])
    kept = labels.free_labels(np.array([3, 256, 7]), first, last, area)
    np.testing.assert_array_equal(kept, [3, 1, 2])


def test_a_number_is_given_again_only_after_a_rest():
    ids = np.arange(300)
    first = np.arange(300) * 2
    found = labels.free_labels(ids, first, first + 1, np.ones(300))
    assert (found > 0).all()
    for number in np.unique(found):
        of_number = np.sort(first[found == number])
        assert (np.diff(of_number) > labels.REST + 1).all()


def test_of_more_than_255_objects_at_a_time_the_smallest_are_dropped(caplog):
    ids = np.arange(1, 261)
    area = np.random.default_rng(0).permutation(260) + 1
    zeros = np.zeros(260, int)
    found = labels.free_labels(ids, zeros, zeros, area)
    assert sorted(found[found > 0]) == list(range(1, 256))
    assert set(area[found == 0]) == {1, 2, 3, 4, 5}

    owners = np.zeros((20, 65), np.int64)
    owners.ravel()[:260] = ids
    owners[5:, :52] = np.arange(1, 53)[None, :]
    found = instances.from_label_map(owners)
    masks = mask_files.MaskFiles(
        files=(),
        file_of_frame=(None,),
        tracked=True,
        read=lambda _: found,
    )
    with caplog.at_level(logging.WARNING):
        (made,) = labels.label_maps(masks, "crowd", lambda x: x)
    assert "crowd: 5 of 260 objects become background" in caplog.text
    assert len(np.unique(made)) == 256


def test_configs_without_masks_give_none():
    assert mask_set.from_config(types.SimpleNamespace(masks="")) is None


def test_masks_of_rendered_drives_replace_the_true_ones(tmp_path, tiny_recordings):
    drive, other = tiny_recordings
    height, width = drive.size
    maps = np.zeros((len(drive), 2 * height, 2 * width), np.uint8)
    maps[:, : 2 * height // 2, 4:12] = 9
    folder = tmp_path / "first" / "instances"
    folder.mkdir(parents=True)
    for i, values in enumerate(maps):
        cv2.imwrite(str(folder / f"{i:06d}.png"), values)
    masks = mask_set.MaskSet(root=str(tmp_path))
    found, _ = rendered_drives.with_masks([drive, drive], masks)
    np.testing.assert_array_equal(found.instance_labels, maps[:, ::2, ::2])
    assert found.world_from_object is None
    assert found.depth is drive.depth
    with pytest.raises(DataError, match="recording 'second'"):
        rendered_drives.with_masks([drive, other], masks)
