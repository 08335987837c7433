"""Prepares a raw data set for training: `mdm-prepare NAME --source=DIR --data_dir=DIR`.

    python -m mdm_jax.prepare kitti_raw --source=/path/to/kitti \\
        --data_dir=/path/to/out --split=eigen --size=128x416

NAME is a raw data set of `--config.dataset.name`, or `video` for folders of images and
movies. Frames are brought to their size once, with their intrinsics, and stored with
camera poses, times, depth and instance labels where the source has them, as a TFDS data
set in ArrayRecord files. The command prints its folder at the end, for
`--config.dataset.name=prepared --config.dataset.path=FOLDER`.

`--masks=FOLDER` replaces the labels of the source by others, whose ids persist from
frame to frame. With `--annotate` they are masks of single frames instead, from which
object tracks are made first, with the options of `mdm_jax.annotate`, in
DATA_DIR/NAME/annotated.

The same command resumes an interrupted build, and writes the same bytes. It needs the
extra `datasets`, but not TensorFlow. With `--beam=...` it runs on Apache Beam (extra
`beam`); source and data_dir must then be visible to all workers.
"""

from __future__ import annotations

import os
import re

from absl import app, flags

from mdm_jax import command_line
from mdm_jax.annotation import command_flags
from mdm_jax.geometry import view

_SOURCE = flags.DEFINE_string("source", None, "Folder of the raw data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder for prepared data sets.")
_SIZE = flags.DEFINE_string("size", "128x416", "HEIGHTxWIDTH of the frames, pixels.")
_SPLIT = flags.DEFINE_string(
    "split", "", "Part of the data set, as in config.dataset.split; empty for all."
)
_EVALUATION_SPLIT = flags.DEFINE_enum(
    "evaluation_split",
    "",
    ["", "test", "validation"],
    "Also prepare this held-out part of the split, for evaluation.",
)
_HELD_OUT = flags.DEFINE_string(
    "held_out", "", "List file of held-out frames, as in config.dataset.held_out."
)
_WITH_TRUTH = flags.DEFINE_bool(
    "with_truth", True, "Store depth and camera poses; depth takes most of the space."
)
_CROP = flags.DEFINE_string(
    "crop",
    "",
    "Fractions to cut away, TOP,BOTTOM,LEFT,RIGHT; empty for the usual ones.",
)
_FIT = flags.DEFINE_enum(
    "fit", "", ["", *view.FITS], "How frames get --size, as config.dataset.fit."
)
_INTRINSICS = flags.DEFINE_string(
    "intrinsics", "", "Of the original frames, as in config.dataset.intrinsics."
)
_ANNOTATION = command_flags.define()
flags.adopt_module_key_flags(command_flags)
_ANNOTATE = flags.DEFINE_bool(
    "annotate", False, "Make object tracks from --masks of single frames first."
)
_IMAGE_FORMAT = flags.DEFINE_enum(
    "image_format", "jpeg", ["jpeg", "png"], "Encoding of the images."
)
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "raise", ["raise", "skip"], "Stop at a broken file, or skip it."
)
_FRAMES_PER_SHARD = flags.DEFINE_integer(
    "frames_per_shard", 1024, "Frames in a file; an interruption loses at most these."
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
        raise app.UsageError("expected one NAME, such as kitti_raw")
    command_line.log_progress()
    # Imported late, so that --help and wrong options are fast.
    from mdm_jax.prepared import build, layout, verify
    from mdm_jax.prepared.options import Options

    with command_line.one_line_errors(
        ImportError, if_interrupted="interrupted: the same command resumes this build"
    ):
        options = Options(
            name=argv[1],
            source=_SOURCE.value or "",
            data_dir=_DATA_DIR.value or "",
            size=_numbers(_SIZE.value, "size", "[0-9]+x[0-9]+", "x", int),
            crop=_numbers(_CROP.value or "0,0,0,0", "crop", "[0-9.,]+", ",", float),
            fit=_FIT.value,
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
        print((folder / layout.REPORT_TEXT).read_text(encoding="utf-8"), end="")
        print(folder)


def _annotator():
    """Returns the function that makes object tracks, see `build.Annotator`, or None."""
    if not _ANNOTATE.value:
        if present := _ANNOTATION.present():
            raise ValueError(f"{present[0]} is an option of annotation: add --annotate")
        return None
    from mdm_jax.annotation import annotator
    from mdm_jax.visualize import instance_overview

    def annotate(sources, folder, *, alone):
        return annotator.annotate(
            sources,
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


def run():
    """Runs the command with the flags of the command line."""
    flags.mark_flags_as_required(["source", "data_dir"])
    command_line.run(main, __name__)


if __name__ == "__main__":
    run()
