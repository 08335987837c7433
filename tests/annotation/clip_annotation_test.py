"""Tests of clips on disk: what is written is read for training, resumed and not mixed."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.annotation import clip_annotation, mask_sources
from mdm_jax.files import image_file
from mdm_jax.files.errors import DataError
from mdm_jax.masks import instances, mask_set
from mdm_jax.recording import own_recordings
from mdm_jax.sources import own_video


@pytest.fixture
def root(tmp_path, street):
    """Frames `a5`..., and masks of each with ids of their own."""
    rng = np.random.default_rng(0)
    for name in ("drive", "masks"):
        (tmp_path / name).mkdir()
    for i, (image, labels) in enumerate(zip(street.images, street.labels, strict=True)):
        cv2.imwrite(str(tmp_path / f"drive/a{i + 5}.png"), image[..., ::-1])
        ids = np.concatenate([[0], rng.permutation(np.arange(1, 9))]).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"masks/{i + 5:03d}.png"), ids[labels])
    return tmp_path


def _annotate(root, output="out", **fields):
    (video,) = own_video.open_sources(root / "drive", intrinsics="learned")
    masks = mask_set.MaskSet(root=str(root / "masks"), alone=True)
    request = clip_annotation.Request(masks=masks, **fields)
    return clip_annotation.annotate_clip(video, root / output, request)


def _maps(root, output="out"):
    folder = root / output / "drive" / "instances"
    return {path.name: image_file.read_labels(path) for path in folder.iterdir()}


def test_what_is_written_is_what_training_reads(root, street):
    summary = _annotate(root)
    assert summary["tracks"] == 4
    assert summary["share_matched"] == 1
    (recording,) = own_recordings.open_video(
        root / "drive",
        size=(96, 208),
        intrinsics="fov:60",
        cache_dir=root / "cache",
        masks=mask_set.MaskSet(root=str(root / "out")),
    )
    pairs = np.stack([recording.instance_labels.ravel(), street.labels.ravel()])
    pairs = np.unique(pairs, axis=1)
    assert len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1] == 5


def test_it_equals_the_annotation_in_memory(root, street):
    _annotate(root)

    def masks(frame):
        return instances.from_label_map(street.labels[frame.index])

    in_memory, _ = clip_annotation.annotate_images(street.images, masks)
    found = _maps(root)
    areas = [np.unique(found[f"a{i + 5}.png"], return_counts=True)[1] for i in (0, 7)]
    for counts, labels in zip(areas, in_memory[[0, 7]], strict=True):
        expected = np.unique(labels, return_counts=True)[1]
        np.testing.assert_array_equal(np.sort(counts), np.sort(expected))


def test_an_interrupted_run_goes_on_and_ends_the_same(root, monkeypatch):
    _annotate(root, "whole")
    calls = []
    original = mask_sources.create

    def create(*args, **fields):
        source = original(*args, **fields)

        def masks(frame):
            calls.append(frame.name)
            if frame.name == "a10" and calls.count("a10") == 1:
                raise KeyboardInterrupt
            return source(frame)

        return masks

    monkeypatch.setattr(mask_sources, "create", create)
    with pytest.raises(KeyboardInterrupt):
        _annotate(root)
    assert not (root / "out" / "drive").exists()
    # A record that was cut off while it was written.
    with (root / "out" / ".drive.part" / "records.jsonl").open("a") as file:
        file.write('{"areas": [1')
    calls.append("again")
    _annotate(root)
    assert calls[calls.index("again") + 1 :] == ["a10", "a11", "a12"]
    assert not (root / "out" / ".drive.part").exists()
    one, other = _maps(root), _maps(root, "whole")
    assert one.keys() == other.keys()
    for name, labels in one.items():
        np.testing.assert_array_equal(labels, other[name])


def test_a_finished_clip_is_not_made_again_and_not_mixed_with_another(root):
    first = _annotate(root)
    path = root / "out" / "drive" / "summary.json"
    before = path.stat().st_mtime_ns
    assert _annotate(root) == json.loads(json.dumps(first))
    assert path.stat().st_mtime_ns == before
    cv2.imwrite(str(root / "masks" / "005.png"), np.zeros((96, 208), np.uint8))
    with pytest.raises(DataError, match=r"out/drive: was made from other frames"):
        _annotate(root)
    path.unlink()
    with pytest.raises(DataError, match="not an annotation"):
        _annotate(root)


def test_broken_input_is_named_and_leaves_nothing_that_looks_whole(root):
    (root / "masks" / "007.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"masks/007\.png"):
        _annotate(root)
    assert not (root / "out" / "drive").exists()
    (root / "masks" / "007.png").unlink()
    with pytest.raises(DataError, match="1 of 8 frames have no masks: a7"):
        _annotate(root)


def test_flow_from_files_is_used(root):
    with pytest.raises(DataError, match="forward"):
        _annotate(root, flow=str(root / "flow"))
