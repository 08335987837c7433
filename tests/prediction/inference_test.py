"""Every frame is predicted once, with its partner, and kept."""

import numpy as np
import pytest

from mdm_jax.prediction import frames, inference, masks, store


@pytest.fixture
def run(network, tmp_path):
    def run_on(folder, *, kept=None, network=network, **options):
        (source,) = frames.open_sources(str(folder))
        view = frames.make_view(source.size, (32, 48))
        kept = kept or store.Store(tmp_path / "out", {}, overwrite=False)
        found = inference.predict_all(
            network, source, kept, view, intrinsics=None, **options
        )
        return found, kept

    return run_on


@pytest.mark.parametrize("stride", [1, 2])
def test_all_but_the_last_frames_have_motion(run, fake, write_frames, stride):
    found, kept = run(write_frames(6), frame_stride=stride, batch_size=3)
    assert found.names == [f"view_{i}" for i in range(6)] and not found.broken
    moving = ["object_motion" in kept.read(name) for name in found.names]
    assert moving == [True] * (6 - stride) + [False] * stride
    # Full batches of one shape, so that nothing is compiled twice, but the last.
    assert fake.calls[:-1] == [(3, 2, 32, 48, 3)] * 2
    assert fake.calls[-1] == (stride, 1, 32, 48, 3)


def test_what_is_there_is_not_predicted_again(run, fake, write_frames):
    folder = write_frames(6)
    first, kept = run(folder, batch_size=2)
    assert first.newly_predicted == 6
    before = {name: kept.path(name).read_bytes() for name in first.names}
    for name in ("view_1", "view_4"):
        kept.path(name).unlink()
    fake.calls.clear()
    second, _ = run(folder, kept=kept, batch_size=2)
    assert second.newly_predicted == 2 and len(fake.calls) == 1
    assert {name: kept.path(name).read_bytes() for name in first.names} == before


def test_frames_before_a_broken_one_are_kept_and_it_is_named(run, write_frames):
    folder = write_frames(5)
    (folder / "view_3.png").write_bytes(b"not an image")
    found, kept = run(folder)
    assert found.names == ["view_0", "view_1", "view_2"]
    assert "view_3.png" in found.broken
    assert "object_motion" in kept.read("view_1")
    assert "object_motion" not in kept.read("view_2")


def test_a_frame_that_was_the_last_gets_motion_when_others_follow(run, write_frames):
    folder = write_frames(5)

    def broken(index):
        if index == 3:
            raise ValueError("no mask yet")
        return masks.Labelled(np.zeros((32, 48), np.uint8), np.arange(256))

    found, kept = run(folder, labels=broken)
    assert found.broken and "rotation" not in kept.read("view_2")
    found, _ = run(folder, kept=kept)
    assert not found.broken and found.newly_predicted == 3
    moving = ["rotation" in kept.read(name) for name in found.names]
    assert moving == [True] * 4 + [False]


def test_what_goes_wrong_with_the_network_is_not_the_recordings_fault(
    run, write_frames
):
    def refuse(*_):
        raise ValueError("the network wants something else")

    with pytest.raises(ValueError, match="the network wants something else"):
        run(write_frames(3), network=inference.Network(refuse, {}, 7), batch_size=1)


def test_no_more_than_a_batch_is_in_memory(run, fake, write_frames, monkeypatch):
    alive = []

    class Counted(inference._Clip):
        def __init__(self, *args):
            super().__init__(*args)
            alive.append(id(self))

        def __del__(self):
            alive.remove(id(self))

    monkeypatch.setattr(inference, "_Clip", Counted)
    most = []

    def count(variables, arrays, step):
        most.append(len(alive))
        return fake(variables, arrays, step)

    run(write_frames(20), network=inference.Network(count, {}, 7), batch_size=4)
    assert len(most) == 6 and max(most) <= 5


def test_depth_that_is_not_finite_stops_with_advice(run, fake, write_frames):
    def broken(variables, arrays, step):
        maps = fake(variables, arrays, step)
        return maps | {"depth": np.full_like(maps["depth"], np.nan)}

    with pytest.raises(FloatingPointError, match=r"view_0 .*--step"):
        run(write_frames(2), network=inference.Network(broken, {}, 7))


def test_labels_go_with_their_frames(run, write_frames):
    def labels(index):
        return masks.Labelled(np.full((32, 48), index, np.uint8), np.arange(256))

    found, kept = run(write_frames(4), labels=labels)
    seen = [int(kept.read(name)["labels"][0, 0]) for name in found.names]
    assert seen == [0, 1, 2, 3]
