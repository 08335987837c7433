"""Tests of the command that annotates: several clips, an overview, and its errors."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.annotation import annotator
from mdm_jax.annotation.clip_annotation import Request
from mdm_jax.files import folder_lock
from mdm_jax.files.errors import DataError
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.sources import own_video
from mdm_jax.visualize import instance_overview

_H, _W = 40, 64


@pytest.fixture
def root(tmp_path):
    """Two clips of four frames: a square moves over noise."""
    rng = np.random.default_rng(0)
    for clip in ("one", "two"):
        for kind in ("frames", "masks"):
            (tmp_path / kind / clip).mkdir(parents=True)
        noise = rng.integers(0, 255, (_H, _W, 3)).astype(np.uint8)
        ground = cv2.GaussianBlur(noise, (3, 3), 1)
        skin = cv2.GaussianBlur(noise[::-1], (3, 3), 1)[:16, :20]
        for i in range(4):
            image, mask = ground.copy(), np.zeros((_H, _W), np.uint8)
            image[10:26, 8 + 2 * i : 28 + 2 * i] = skin
            mask[10:26, 8 + 2 * i : 28 + 2 * i] = i + 1
            cv2.imwrite(str(tmp_path / f"frames/{clip}/{i}.png"), image)
            cv2.imwrite(str(tmp_path / f"masks/{clip}/{i}.png"), mask)
    return tmp_path


def _annotate(root, masks="", **options):
    return annotator.annotate(
        own_video.open_sources(root / "frames", intrinsics="learned"),
        root / "out",
        Request(masks=MaskSet(root=masks or str(root / "masks"))),
        **options,
    )


def test_every_clip_gets_maps_a_summary_and_an_overview(root):
    summaries = _annotate(root, overview=instance_overview.write)
    assert [summary["tracks"] for summary in summaries] == [1, 1]
    for clip in ("one", "two"):
        folder = root / "out" / clip
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["instances", "overview.webm", "summary.json"]
        capture = cv2.VideoCapture(str(folder / "overview.webm"))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
        capture.release()
    kept = json.loads((root / "out" / "summary.json").read_text())
    assert kept["clips"]["two"]["frames"] == 4
    assert kept["skipped"] == []


def test_processes_side_by_side_give_the_same(root):
    _annotate(root)
    (root / "out").rename(root / "alone")
    _annotate(root, num_processes=2)
    for path in (root / "alone").rglob("*.*"):
        other = root / "out" / path.relative_to(root / "alone")
        assert other.read_bytes() == path.read_bytes()


def test_a_broken_clip_stops_or_is_counted(root):
    (root / "masks" / "one" / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"one/2\.png"):
        _annotate(root)
    (summary,) = _annotate(root, on_error="skip")
    assert summary["name"] == "two"
    kept = json.loads((root / "out" / "summary.json").read_text())
    assert "one/2.png" in kept["skipped"][0]
    (root / "masks" / "two" / "0.png").unlink()
    (root / "out" / "two" / "summary.json").unlink()
    with pytest.raises(ValueError, match="no clip could be annotated; 2 skipped"):
        _annotate(root, on_error="skip")


def test_a_background_that_was_taken_for_an_object_is_told(root, caplog):
    for path in (root / "masks" / "two").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), np.where(mask > 0, mask, 255))
    with caplog.at_level("WARNING"):
        _annotate(root)
    assert caplog.text.count("set --mask_background") == 1
    assert "two: track" in caplog.text


def test_a_clip_with_a_broken_frame_is_counted_too(root):
    (root / "frames" / "one" / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"one/2\.png: cannot be read as an image"):
        _annotate(root)
    (summary,) = _annotate(root, on_error="skip")
    assert summary["name"] == "two"


def test_a_second_annotation_at_the_same_time_is_an_error(root):
    (root / "out").mkdir()
    with (
        folder_lock.held(root / "out", "a test"),
        pytest.raises(OSError, match="another annotation is writing to .*out"),
    ):
        _annotate(root)
    assert len(_annotate(root)) == 2


def test_a_process_that_is_killed_is_named_and_the_rest_goes_on(root):
    masks = "call:tests.prepared.jobs.die"
    with pytest.raises(
        ChildProcessError, match="annotating: .* --num_processes=1 .now 2"
    ):
        _annotate(root, masks=masks, num_processes=2)
    assert len(_annotate(root)) == 2


def test_a_label_has_one_colour_and_background_stays_visible():
    image = np.full((60, 90, 3), 90, np.uint8)
    labels = np.zeros((60, 90), np.uint8)
    labels[2:23, 3:87], labels[36:58, 4:29] = 7, 8
    picture = instance_overview.draw(image, labels)
    assert picture.shape == image.shape
    assert (picture[labels == 0] == 90).mean() > 0.9
    assert (picture[36, 4] != picture[2, 3]).any()
    moved = instance_overview.draw(image, labels[::-1])
    np.testing.assert_array_equal(moved[57, 3], picture[2, 3])
