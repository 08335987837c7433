"""The masks of one recording, read frame by frame from any of the common formats.

| format        | content                                                              |
|---------------|----------------------------------------------------------------------|
| folder of PNG | one label map per frame: `class*1000 + id` or plain ids              |
| folder of NPZ | per frame a label map, or `masks` (`[k h w]`) with optional `ids`,   |
|               | `classes` and `scores`                                               |
| NPZ file      | the label maps of all frames, `[n h w]`                              |
| JSON file     | COCO run lengths: a data set, or a list of results                   |
| TXT file      | KITTI MOTS: `frame id class height width run_lengths`                |

Files belong to frames by name or number, see `frame_names`. Every problem is a
`DataError` that names the file.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.masks import frame_names, instances, label_images, run_length_files
from mdm_jax.masks.instances import Instances

# Files that hold the masks of all frames.
FILE_SUFFIXES = (".npz", ".json", ".txt")
_SUFFIXES = (".png", *FILE_SUFFIXES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskFiles:
    """The masks of a recording, which are read on demand.

    Attributes:
        files: all files.
        file_of_frame: the file of each frame.
        tracked: whether an id denotes one object in all frames, as far as files tell.
        read: returns the instances of the frame with a given index.
        options: coding and background value, which the masks depend on besides files.
    """

    files: tuple[pathlib.Path, ...]
    file_of_frame: tuple[pathlib.Path, ...]
    tracked: bool
    read: Callable[[int], Instances]
    options: tuple[str, int] = ("auto", 0)

    def __len__(self) -> int:
        return len(self.file_of_frame)

    def check_tracked(self) -> None:
        """Checks that ids persist from frame to frame.

        Raises:
            DataError: they do not.
        """
        if not self.tracked:
            raise DataError(
                self.files[0],
                "these masks have no track_id, so it is unknown which of them show the"
                " same object; link them with `python -m mdm_jax.annotate --masks=...`",
            )


def open_masks(
    path: pathlib.Path,
    names: Sequence[str],
    *,
    size: tuple[int, int],
    background: int = 0,
    coding: str = "auto",
) -> MaskFiles:
    """Returns the masks of frames, in the order of the frames.

    Args:
        path: folder or file, see the table above.
        names: of the frames: file names without suffix; `000000`, ... for a movie.
        size: height and width of the original frames, which masks must have.
        background: value of the pixels of label maps without an object.
        coding: of PNG label maps, see `label_images.decode`; `auto` decides once for
            a folder.

    Raises:
        DataError: no masks, or none of some frames. Errors within a single file are
            raised only when that file is read.
    """
    options = (coding, background)
    if file_content.is_folder(path):
        return _open_folder(path, names, size, options)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _open_stack(path, names, size, options)
    if suffix not in run_length_files.READERS:
        raise DataError(
            path,
            f"expected masks as {' '.join(_SUFFIXES)}, got a file {path.suffix!r}",
        )
    records, tracked = run_length_files.READERS[suffix](path)
    keys = _match(path, names, list(records), partial=True)

    def read(index: int) -> Instances:
        return run_length_files.decode(
            records.get(keys[index] or "", []), size=size, path=path
        )

    return MaskFiles(
        files=(path,),
        file_of_frame=(path,) * len(names),
        tracked=tracked,
        read=read,
        options=options,
    )


def has_masks(folder: pathlib.Path) -> bool:
    """Returns whether a folder directly contains files of masks."""
    return any(
        path.suffix.lower() in _SUFFIXES for path in file_content.children(folder)
    )


def _open_folder(
    folder: pathlib.Path,
    names: Sequence[str],
    size: tuple[int, int],
    options: tuple[str, int],
) -> MaskFiles:
    coding, background = options
    children = file_content.children(folder)
    by_suffix = {
        suffix: [path for path in children if path.suffix.lower() == suffix]
        for suffix in _SUFFIXES
    }
    suffixes = [suffix for suffix in _SUFFIXES if by_suffix[suffix]]
    if len(suffixes) != 1:
        raise DataError(
            folder,
            f"expected masks in one format ({' '.join(_SUFFIXES)}), got"
            f" {' and '.join(suffixes) or 'none'}; give a folder with one format only",
        )
    (suffix,) = suffixes
    paths = by_suffix[suffix]
    if suffix in run_length_files.READERS:
        if len(paths) > 1:
            raise DataError(
                folder,
                f"expected one {suffix} with all frames, got {len(paths)}; give the path"
                " of one of them",
            )
        return open_masks(
            paths[0], names, size=size, background=background, coding=coding
        )
    by_stem = {path.stem: path for path in paths}
    keys = _match(folder, names, list(by_stem), partial=False)
    file_of_frame = tuple(by_stem[key] for key in keys if key is not None)

    @functools.cache
    def example() -> pathlib.Path | None:
        # From the whole folder, so that all parts of a recording are decoded alike.
        if coding != "auto":
            return None
        return label_images.find_class_ids(paths, size=size, background=background)

    def read(index: int) -> Instances:
        path = file_of_frame[index]
        if suffix == ".npz":
            return label_images.read_npz(path, size=size, background=background)
        return label_images.read_png(
            path, size=size, background=background, coding=coding, example=example()
        )

    return MaskFiles(
        files=file_of_frame,
        file_of_frame=file_of_frame,
        tracked=True,
        read=read,
        options=options,
    )


def _open_stack(
    path: pathlib.Path,
    names: Sequence[str],
    size: tuple[int, int],
    options: tuple[str, int],
) -> MaskFiles:
    labels = label_images.read_labels_npz(path, axes=3)
    if labels.shape != (len(names), *size):
        raise DataError(
            path,
            f"expected the label maps of {len(names)} frames of {size[0]}x{size[1]}"
            f" pixels (height x width), got shape {list(labels.shape)}",
        )

    def read(index: int) -> Instances:
        return instances.from_label_map(labels[index], background=options[1])

    return MaskFiles(
        files=(path,),
        file_of_frame=(path,) * len(names),
        tracked=True,
        read=read,
        options=options,
    )


def _match(
    path: pathlib.Path, names: Sequence[str], keys: list[str], *, partial: bool
) -> list[str | None]:
    """Returns the key of each frame, None only if `partial` allows missing masks."""
    matched = frame_names.match(names, keys)
    missing = [name for name, key in zip(names, matched, strict=True) if key is None]
    if len(missing) == len(names) or (missing and not partial):
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            path,
            f"{len(missing)} of {len(names)} frames have no masks: {listed}. The file of"
            " a mask has the name or the number of its frame; the names here are like"
            f" {keys[0] if keys else 'nothing'}. A frame without objects needs an empty"
            " mask",
        )
    return matched
