"""Prepares a raw data set for training: a TFDS data set in ArrayRecord files.

    python datasets/build.py kitti_raw --source=/path/to/kitti --data_dir=/path/to/out \
        --split=eigen --size=128x416

NAME is a raw data set that `--config.dataset.name` knows, or `video` for image folders
and video files. Frames are cut and resized once, and intrinsics with them; camera
poses, times, depth and instance labels come along where the source has them. The
folder that is printed at the end is for
`--config.dataset.name=prepared --config.dataset.path=FOLDER`.

`--masks=FOLDER` names other labels, whose ids persist from frame to frame. With
`--annotate` they are masks of single frames: as by `mdm_jax.annotate`, whose options
hold, they become tracks first, which are kept in DATA_DIR/NAME/annotated.

The same command goes on with a build that was interrupted, and gives the same bytes. It
needs the extra `datasets`, but no TensorFlow. With `--beam=...` it runs on Apache Beam
(extra `beam`): source and data_dir have to be where all workers see them.
"""

from __future__ import annotations

import os
import pathlib
import re
import sys

from absl import app, flags, logging

if __name__ == "__main__":
    # As a script, Python looks for modules beside it and not in the repository.
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from mdm_jax.annotation import command_flags

_SOURCE = flags.DEFINE_string("source", None, "Folder of the raw data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder for prepared data sets.")
_SIZE = flags.DEFINE_string("size", "128x416", "HEIGHTxWIDTH of the frames, pixels.")
_SPLIT = flags.DEFINE_string(
    "split", "", "Part of the data set, as config.dataset.split has it; empty for all."
)
_EVALUATION_SPLIT = flags.DEFINE_enum(
    "evaluation_split",
    "",
    ["", "test", "validation"],
    "Prepare also this part that the split holds out, to be evaluated on.",
)
_HELD_OUT = flags.DEFINE_string(
    "held_out", "", "List file of the frames to hold out, as config.dataset.held_out."
)
_WITH_TRUTH = flags.DEFINE_bool(
    "with_truth", True, "Take depth and camera poses along; depth takes most space."
)
_CROP = flags.DEFINE_string(
    "crop", "", "Shares to cut away, TOP,BOTTOM,LEFT,RIGHT; empty for what is usual."
)
_INTRINSICS = flags.DEFINE_string(
    "intrinsics", "", "Of videos, as config.dataset.intrinsics has it."
)
_ANNOTATION = command_flags.define()
flags.adopt_module_key_flags(command_flags)
_ANNOTATE = flags.DEFINE_bool(
    "annotate", False, "Make tracks of --masks of single frames first."
)
_IMAGE_FORMAT = flags.DEFINE_enum("image_format", "jpeg", ["jpeg", "png"], "Coding.")
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "raise", ["raise", "skip"], "What to do about a broken file."
)
_FRAMES_PER_SHARD = flags.DEFINE_integer(
    "frames_per_shard", 1024, "Frames in a file; what is lost when interrupted."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", os.cpu_count() or 1, "Processes that read and encode."
)
_VERIFY = flags.DEFINE_bool(
    "verify", False, "Read back every frame afterwards, also of a finished build."
)
_BEAM = flags.DEFINE_string(
    "beam",
    None,
    "Run on Apache Beam with these pipeline options, separated by spaces, such as"
    " '--runner=DirectRunner --direct_num_workers=4'.",
)


def main(argv: list[str]):
    if len(argv) != 2:
        raise app.UsageError("one NAME is expected, such as kitti_raw")
    logging.set_verbosity(logging.INFO)
    # Here, so that --help and mistakes do not wait for them.
    from mdm_jax.prepared import build, layout, verify
    from mdm_jax.prepared.options import Options

    try:
        options = Options(
            name=argv[1],
            source=_SOURCE.value or "",
            data_dir=_DATA_DIR.value or "",
            size=_numbers(_SIZE.value, "size", "[0-9]+x[0-9]+", "x", int),
            crop=_numbers(_CROP.value or "0,0,0,0", "crop", "[0-9.,]+", ",", float),
            split=_SPLIT.value,
            evaluation_split=_EVALUATION_SPLIT.value,
            held_out=_HELD_OUT.value,
            with_truth=_WITH_TRUTH.value,
            intrinsics=_INTRINSICS.value,
            image_format=_IMAGE_FORMAT.value,
            on_error=_ON_ERROR.value,
            frames_per_shard=_FRAMES_PER_SHARD.value,
            masks=_ANNOTATION["masks"] or "",
            mask_coding=_ANNOTATION["mask_coding"],
            mask_background=_ANNOTATION["mask_background"],
            annotation=_ANNOTATION.described() if _ANNOTATE.value else None,
        )
        if _BEAM.value is None:
            runner = build.on_processes(_NUM_PROCESSES.value)
        else:
            from mdm_jax.prepared import beam

            runner = beam.on_beam(_BEAM.value.split())
        folder = build.build(options, runner=runner, annotator=_annotator())
        if _VERIFY.value:
            print(verify.verify(folder, num_processes=_NUM_PROCESSES.value))
    except (ValueError, OSError, ImportError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on where this stopped")
    print((folder / layout.REPORT_TEXT).read_text(), end="")
    print(folder)


def _annotator():
    """Returns what makes tracks of clips in a folder; None where none are asked for."""
    if not _ANNOTATE.value:
        if given := _ANNOTATION.present():
            raise ValueError(f"{given[0]} says how to make tracks: add --annotate")
        return None
    from mdm_jax.annotation import annotator
    from mdm_jax.visualize import instance_overview

    def annotate(clips, folder, *, alone):
        return annotator.annotate(
            clips,
            folder,
            _ANNOTATION.request(alone=alone),
            num_processes=_NUM_PROCESSES.value,
            on_error=_ON_ERROR.value,
            overview=instance_overview.write if _ANNOTATION["overview"] else None,
        )

    return annotate


def _numbers(text: str, name: str, pattern: str, separator: str, number: type):
    """Returns the tuple of numbers of a flag."""
    if not re.fullmatch(pattern, text):
        raise ValueError(f"--{name} got {text!r}; see --helpshort")
    return tuple(number(part) for part in text.split(separator))


if __name__ == "__main__":
    flags.mark_flags_as_required(["source", "data_dir"])
    app.run(main)
