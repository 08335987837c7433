"""Predicts: `python -m mdm_jax.predict --workdir=runs/mine --input=a.mp4 --output=out`.

The input is an image, a folder of images, a video, or a folder of such; its frames may
have any size. `out/prediction.json` says what all that is written means, and in which
unit: without something known (`--camera_height=1.6`, `--speed=13.9`, `--depths=FILE`)
depth is relative. A command that was stopped goes on where it was. Examples:

    python -m mdm_jax.predict --workdir=runs/mine --input=photo.jpg --output=out
    python -m mdm_jax.predict --workdir=runs/mine --input=drive.mp4 --output=out \\
        --camera_height=1.6 --save=depth_png,video
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from absl import app, flags, logging

from mdm_jax.train import startup

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run that predicts.")
_INPUT = flags.DEFINE_string(
    "input", None, "Image, video, or folder of images or videos."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint; default: the newest.")
_INTRINSICS = flags.DEFINE_string(
    "intrinsics",
    "",
    "fx,fy,cx,cy in pixels of the frames, a file, or fov:DEGREES; default: the run's, or"
    " a cam.txt beside the frames.",
)
_FIT = flags.DEFINE_enum(
    "fit",
    "crop",
    ["crop", "stretch"],
    "Cut frames to the shape trained on, as in training, or stretch them to it.",
)
_MASKS = flags.DEFINE_string(
    "masks", "", "Folder or file with instance masks, for methods that know objects."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Frames predicted at a time.")
_FPS = flags.DEFINE_float("fps", None, "Frames a second; default: the video's.")
_CAMERA_HEIGHT = flags.DEFINE_float(
    "camera_height", None, "Metres above the ground: gives metric scale."
)
_SPEED = flags.DEFINE_string(
    "speed",
    None,
    "Metres a second, or a file with one number a frame: gives metric scale.",
)
_DEPTHS = flags.DEFINE_string(
    "depths",
    None,
    "File of lines `u v depth` (first frame) or `frame u v depth`, pixels and metres:"
    " gives metric scale.",
)
_SAVE = flags.DEFINE_list(
    "save",
    "depth_png,depth_npz,motion_npz,masks,video",
    "What to write for every frame.",
)
_MAPS_AT = flags.DEFINE_enum(
    "maps_at", "input", ["input", "network"], "The size of depth and other maps."
)
_POINT_CLOUDS = flags.DEFINE_string(
    "point_clouds", "middle", "Numbers of frames (0,40), `middle` or `none`."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Remove predictions in --output that were made otherwise."
)


def predict_all() -> list[dict[str, Any]]:
    """Predicts as the flags say; returns what each `prediction.json` says."""
    workdir, path, output = (_given(flag) for flag in (_WORKDIR, _INPUT, _OUTPUT))
    # Imported here: some of these modules ask JAX for its devices.
    from mdm_jax import methods
    from mdm_jax.methods import inference as inference_lib
    from mdm_jax.prediction import frames, inference, predict, scaling
    from mdm_jax.run import restore

    request = predict.Request(
        intrinsics=_INTRINSICS.value,
        fit=_FIT.value,
        batch_size=_BATCH_SIZE.value,
        frames_per_second=_FPS.value,
        masks=_MASKS.value,
        known=scaling.Known(_CAMERA_HEIGHT.value, _SPEED.value, _DEPTHS.value),
        save=tuple(_SAVE.value),
        maps_at=_MAPS_AT.value,
        point_clouds=_POINT_CLOUDS.value,
        overwrite=_OVERWRITE.value,
    )
    sources = frames.open_sources(path)
    run = restore.load_run(workdir, step=_STEP.value)
    function = inference_lib.make_predict(methods.for_inference(run.method, run.config))
    made_by = {
        "workdir": str(run.workdir.resolve()),
        "step": run.step,
        # A folder may have been trained in anew, up to the same step.
        "written": restore.checkpoint_time(run),
    }
    results = []
    for source in sources:
        name = source.name
        folder = pathlib.Path(output).expanduser()
        folder = folder / name if len(sources) > 1 else folder
        index = predict.training_index(run.config, source)
        results.append(
            predict.predict(
                inference.Network(function, run.variables, run.step, index),
                run.config,
                source,
                folder,
                request,
                made_by=made_by,
                alone=len(sources) == 1,
            )
        )
        _tell(name, folder, results[-1])
    return results


def _given(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise ValueError(f"--{flag.name} is missing; --helpshort explains it")
    return flag.value


def _tell(name: str, output: pathlib.Path, result: dict[str, Any]):
    scale = result["scale"]
    print(f"\n{name}: {result['frames']} frames in {output}")
    print(f"  {scale if isinstance(scale, str) else scale['description']}")
    if result["newly_predicted"] < result["frames"]:
        print(f"  newly predicted: {result['newly_predicted']}; the others were there")
    if not result["complete"]:
        print(f"  ended early: {result['ended_early']}", flush=True)


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    startup.quiet_libraries()
    startup.configure_jax(1, "")
    try:
        predict_all()
    except (ValueError, OSError, FloatingPointError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")


def run():
    """The console entry point."""
    app.run(main)


if __name__ == "__main__":
    run()
