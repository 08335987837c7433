"""Every frame is predicted once, with its partner, and store."""

import numpy as np
import pytest

from mdm_jax.geometry import view as view_lib
from mdm_jax.prediction import frame_store, inputs, predicting


@pytest.fixture
def run(model, tmp_path):
    def run_on(folder, *, store=None, batch_size=8, **options):
        (source,) = inputs.open_sources(str(folder))
        view = view_lib.centred(source.size, (32, 48))
        store = store or frame_store.FrameStore(tmp_path / "out", {}, overwrite=False)
        progress = predicting.predict_frames(
            model, inputs.Input(source, view, **options), store, batch_size=batch_size
        )
        return progress, store

    return run_on


@pytest.mark.parametrize("stride", [1, 2])
def test_all_but_the_last_frames_have_motion(run, model, write_frames, stride):
    progress, store = run(write_frames(6), frame_stride=stride, batch_size=3)
    assert progress.names == [f"view_{i}" for i in range(6)] and not progress.problem
    moving = ["object_motion" in store.read(name) for name in progress.names]
    assert moving == [True] * (6 - stride) + [False] * stride
    # Full batches of one shape, so that nothing is compiled twice, but the last.
    assert model.calls[:-1] == [(3, 2, 32, 48, 3)] * 2
    assert model.calls[-1] == (stride, 1, 32, 48, 3)


def test_what_is_there_is_not_predicted_again(run, model, write_frames):
    folder = write_frames(6)
    first, store = run(folder, batch_size=2)
    assert first.num_new == 6
    before = {name: store.path(name).read_bytes() for name in first.names}
    for name in ("view_1", "view_4"):
        store.path(name).unlink()
    model.calls.clear()
    second, _ = run(folder, store=store, batch_size=2)
    assert second.num_new == 2 and len(model.calls) == 1
    assert {name: store.path(name).read_bytes() for name in first.names} == before


def test_frames_before_a_broken_one_are_kept_and_it_is_named(run, write_frames):
    folder = write_frames(5)
    (folder / "view_3.png").write_bytes(b"not an image")
    progress, store = run(folder)
    assert progress.names == ["view_0", "view_1", "view_2"]
    assert "view_3.png" in progress.problem
    assert "object_motion" in store.read("view_1")
    assert "object_motion" not in store.read("view_2")


def test_a_frame_that_was_the_last_gets_motion_when_others_follow(run, write_frames):
    folder = write_frames(5)

    def broken(index):
        if index == 3:
            raise ValueError("no mask yet")
        return inputs.Labelled(np.zeros((32, 48), np.uint8), np.arange(256))

    progress, store = run(folder, labels=broken)
    assert progress.problem and "rotation" not in store.read("view_2")
    progress, _ = run(folder, store=store)
    assert not progress.problem and progress.num_new == 3
    moving = ["rotation" in store.read(name) for name in progress.names]
    assert moving == [True] * 4 + [False]


def test_errors_of_the_network_stop_the_command(run, model, altered, write_frames):
    def refuse(*_):
        raise ValueError("the network wants something else")

    altered(model, refuse)
    with pytest.raises(ValueError, match="the network wants something else"):
        run(write_frames(3), batch_size=1)


def test_no_more_than_a_batch_is_in_memory(
    run, model, altered, write_frames, monkeypatch
):
    alive = []

    class Counted(predicting.Shown):
        def __new__(cls, *args):
            shown = super().__new__(cls, *args)
            alive.append(id(shown))
            return shown

        def __del__(self):
            alive.remove(id(self))

    monkeypatch.setattr(predicting, "Shown", Counted)
    counts = []

    def count(maps, _):
        counts.append(len(alive))
        return maps

    altered(model, count)
    run(write_frames(20), batch_size=4)
    assert len(counts) == 6 and max(counts) <= 5


def test_depth_that_is_not_finite_stops_with_advice(run, model, altered, write_frames):
    altered(
        model, lambda maps, _: maps | {"depth": np.full_like(maps["depth"], np.nan)}
    )
    with pytest.raises(FloatingPointError, match=r"view_0 .*--step"):
        run(write_frames(2))


def test_labels_go_with_their_frames(run, write_frames):
    def labels(index):
        return inputs.Labelled(np.full((32, 48), index, np.uint8), np.arange(256))

    progress, store = run(write_frames(4), labels=labels)
    seen = [int(store.read(name)["labels"][0, 0]) for name in progress.names]
    assert seen == [0, 1, 2, 3]
