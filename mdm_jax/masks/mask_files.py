"""Masks of the frames of a recording, read from files of any of the usual forms.

| form                    | what is read                                               |
|-------------------------|------------------------------------------------------------|
| folder of PNG           | a label map per frame: `class*1000 + id` or plain ids      |
| folder of NPZ           | per frame a label map, or `masks` (`[k h w]`) with `ids`,  |
|                         | `classes` and `scores` where known                         |
| one NPZ                 | label maps of all frames, `[n h w]`                        |
| JSON                    | COCO run lengths: a data set, or a list of results         |
| TXT                     | KITTI MOTS: `frame id class height width run_lengths`      |

Files belong to frames by name or number (`frame_names`). Every problem is a `DataError`
that names the file.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.masks import frame_names, instances, label_images, run_length_files
from mdm_jax.masks.instances import Instances

# Where `mdm_jax.annotate` and KITTI MOTS keep label maps.
LABEL_FOLDER = "instances"
_FORMS = (".png", ".npz", ".json", ".txt")


@dataclasses.dataclass(frozen=True)
class MaskFiles:
    """The masks of a recording, not read yet.

    Attributes:
        files: all that they come from.
        of_frame: the file of each frame.
        tracked: whether an id is the same object in every frame, as far as can be told.
        read: given the number of a frame, returns its instances.
    """

    files: tuple[pathlib.Path, ...]
    of_frame: tuple[pathlib.Path, ...]
    tracked: bool
    read: Callable[[int], Instances]


def find(root: str | pathlib.Path, name: str, *, alone: bool = True) -> pathlib.Path:
    """Returns the folder or file with the masks of a recording.

    Args:
        root: what a user names: it holds `NAME/instances`, `NAME`, `instances/NAME`,
            `NAME.json`, `.txt` or `.npz`; or it is itself the masks.
        name: of the recording.
        alone: there is no other recording, that the root itself could belong to.

    Raises:
        DataError: there are none.
    """
    root = pathlib.Path(root).expanduser()
    if not file_content.exists(root):
        raise DataError(
            root,
            "no such folder or file of instance masks; make them with"
            " `python -m mdm_jax.annotate`",
        )
    if not file_content.is_folder(root):
        if alone:
            return root
        raise DataError(
            root,
            "one file cannot hold the masks of several recordings; give a folder with"
            f" {name}{root.suffix} and so on",
        )
    candidates = [root / name / LABEL_FOLDER, root / name, root / LABEL_FOLDER / name]
    candidates += [root / f"{name}{suffix}" for suffix in _FORMS[1:]]
    candidates += [root / LABEL_FOLDER, root] if alone else []
    for candidate in candidates:
        if file_content.is_folder(candidate):
            if any(
                path.suffix.lower() in _FORMS
                for path in file_content.children(candidate)
            ):
                return candidate
        elif file_content.exists(candidate):
            return candidate
    raise DataError(
        root,
        f"no instance masks of the recording {name!r}: expected a folder {name} with a"
        f" PNG or NPZ per frame, or {name}.json, .txt or .npz; `python -m"
        " mdm_jax.annotate` makes them",
    )


def open_masks(
    path: pathlib.Path,
    names: Sequence[str],
    *,
    size: tuple[int, int],
    background: int = 0,
    coding: str = "auto",
) -> MaskFiles:
    """Returns the masks of frames, in their order.

    Args:
        path: as `find` returns it.
        names: of the frames: file names without suffix; for the frames of a video
            `000000`, `000001` and so on.
        size: height and width that masks must have: that of the original frames.
        background: the value of pixels of label maps that belong to no object.
        coding: of PNG label maps, see `label_images.decode`; `auto` is decided once for
            a folder.

    Raises:
        DataError: nothing to read there; frames have no masks. What is wrong with a
            single file is known only when it is read.
    """
    if file_content.is_folder(path):
        return _open_folder(path, names, size, background, coding)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _open_stack(path, names, size, background)
    if suffix not in (".json", ".txt"):
        raise DataError(
            path, f"expected masks as {' '.join(_FORMS)}, got a file {path.suffix!r}"
        )
    records, tracked = run_length_files.READERS[suffix](path)
    keys = _matched(path, names, list(records), partial=True)

    def read(index: int) -> Instances:
        found = records.get(keys[index] or "", [])
        return run_length_files.decode(found, size=size, path=path)

    return MaskFiles((path,), (path,) * len(names), tracked, read)


def _open_folder(
    folder: pathlib.Path,
    names: Sequence[str],
    size: tuple[int, int],
    background: int,
    coding: str,
) -> MaskFiles:
    children = file_content.children(folder)
    by_suffix = {
        suffix: [path for path in children if path.suffix.lower() == suffix]
        for suffix in _FORMS
    }
    kinds = [suffix for suffix in _FORMS if by_suffix[suffix]]
    if len(kinds) != 1:
        raise DataError(
            folder,
            f"expected masks of one form ({' '.join(_FORMS)}), got"
            f" {' and '.join(kinds) or 'none'}; give a folder with one kind alone",
        )
    suffix, found = kinds[0], by_suffix[kinds[0]]
    if suffix in (".json", ".txt"):
        if len(found) > 1:
            raise DataError(
                folder,
                f"expected one {suffix} for all frames, got {len(found)}; name it",
            )
        return open_masks(found[0], names, size=size)
    by_stem = {path.stem: path for path in found}
    keys = _matched(folder, names, list(by_stem), partial=False)
    paths = tuple(by_stem[key] for key in keys if key is not None)

    @functools.cache
    def example() -> pathlib.Path | None:
        # Of the whole folder, so that all parts of a recording are read alike.
        if coding != "auto":
            return None
        return label_images.find_class_ids(found, size=size, background=background)

    def read(index: int) -> Instances:
        path = paths[index]
        if suffix == ".npz":
            return label_images.read_npz(path, size=size, background=background)
        return label_images.read_png(
            path,
            size=size,
            background=background,
            coding=coding,
            example=example(),
        )

    return MaskFiles(paths, paths, True, read)


def _open_stack(
    path: pathlib.Path, names: Sequence[str], size: tuple[int, int], background: int
) -> MaskFiles:
    labels = label_images.read_labels_npz(path, axes=3)
    if labels.shape != (len(names), *size):
        raise DataError(
            path,
            f"expected label maps of the {len(names)} frames of {size[1]} x {size[0]}"
            f" (width x height), got shape {list(labels.shape)}",
        )

    def read(index: int) -> Instances:
        return instances.from_label_map(labels[index], background=background)

    return MaskFiles((path,), (path,) * len(names), True, read)


def _matched(
    path: pathlib.Path, names: Sequence[str], keys: list[str], *, partial: bool
) -> list[str | None]:
    found = frame_names.match(names, keys)
    missing = [name for name, key in zip(names, found, strict=True) if key is None]
    if len(missing) == len(names) or (missing and not partial):
        few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            path,
            f"{len(missing)} of {len(names)} frames have no masks: {few}; masks carry"
            " the name or the number of their frame, such as"
            f" {keys[0] if keys else 'nothing'} here. A frame without objects needs an"
            " empty mask",
        )
    return found


def without_tracks(path: pathlib.Path) -> DataError:
    """Returns what to tell about masks whose ids hold in one frame only."""
    return DataError(
        path,
        "these masks have no track_id, so that it is not known which are of one object;"
        " match them with `python -m mdm_jax.annotate --masks=...`",
    )


def check_disjoint(found: Instances, path: pathlib.Path) -> None:
    """Checks that no pixel belongs to two instances.

    Raises:
        DataError: one does; it names two instances that overlap.
    """
    if len(found) < 2:
        return
    count = found.masks.sum(axis=0, dtype=np.int32)
    place = np.unravel_index(int(count.argmax()), count.shape)
    if count[place] < 2:
        return
    both = found.ids[found.masks[:, place[0], place[1]]][:2].tolist()
    raise DataError(
        path,
        f"instances {both[0]} and {both[1]} overlap, at pixel (x, y) ="
        f" ({place[1]}, {place[0]}); {int((count > 1).sum())} pixels belong to several."
        " `python -m mdm_jax.annotate --masks=...` makes them disjoint",
    )
