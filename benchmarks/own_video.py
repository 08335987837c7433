"""Depth learned from a drive's own frames, against LiDAR and stereo: error and time.

    python benchmarks/own_video.py --footage=DIR --output=OUT [--recipes=pretrained] \\
        [--drives=kitti_00,karlsruhe,lidar] [--seeds=0,1,2] [--steps=600]

Each drive is trained on with `configs/video.py` (64x208, method A), and each frame with
truth is then evaluated with `kitti_eigen`, scaled by the median. Beside the recipes
stands constant depth. `DIR` holds `kitti_odometry/sequences/00/image_0` with
`stereo_truth/kitti_odometry_00`, `karlsruhe_0019` with `stereo_truth/karlsruhe_0019`
(PNG in 1/256 m), and `kitti_raw_lidar` in KITTI's raw layout.

Every result is written to `OUT/own_video.json` as soon as it is known. The same command
continues: it skips known results and resumes an interrupted training. Processor seconds
are of the complete training command, two-view geometry and compilation included; if it
was interrupted, they are of its last part.
"""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import mdm_jax
from mdm_jax.files import atomic

_FOOTAGE = flags.DEFINE_string("footage", "", "Folder of the drives, see above.")
_OUTPUT = flags.DEFINE_string("output", "", "Folder for runs and results.")
_DRIVES = flags.DEFINE_list("drives", ["kitti_00", "karlsruhe", "lidar"], "Drives.")
_RECIPES = flags.DEFINE_list("recipes", ["constant", "pretrained"], "Recipes.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of training.")
_STEPS = flags.DEFINE_integer("steps", 600, "Steps of training.")

_LIDAR = "kitti_raw_lidar/2011_09_26/2011_09_26_drive_9001_sync"
# Frames, intrinsics in pixels of these, and true depth.
DRIVES = {
    "kitti_00": (
        "kitti_odometry/sequences/00/image_0",
        "718.856,718.856,607.1928,185.2157",
        "stereo_truth/kitti_odometry_00",
    ),
    "karlsruhe": (
        "karlsruhe_0019",
        "322.62005,322.62005,317.72935,96.81455",
        "stereo_truth/karlsruhe_0019",
    ),
    "lidar": (
        f"{_LIDAR}/image_02/data",
        "721.5377,721.5377,609.5593,172.854",
        "kitti_raw_lidar",
    ),
}
_OFF = [
    f"--config.loss_weights.{name}=0"
    for name in ("triangulation", "egomotion_prior", "static_motion")
]
# Variants of `configs/video.py`, and settings. `constant` is not trained.
RECIPES: dict[str, tuple[str, list[str]]] = {
    "constant": ("", []),
    "random": ("", []),
    "photometric": ("", _OFF),
    "pretrained": ("pretrained", []),
    "pretrained_photometric": ("pretrained", _OFF),
    "pretrained_frozen": ("pretrained", ["--config.networks.freeze=encoder"]),
    "pretrained_width640": ("pretrained", ["--config.two_view.max_width=640"]),
}


def _run(command: Sequence[str]) -> float:
    """Runs a module of this repository, and returns the processor seconds it took."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run([sys.executable, "-m", *command], check=True)
    return used() - before


def _train(drive: str, recipe: str, seed: str, workdir: pathlib.Path) -> float:
    frames, intrinsics, _ = DRIVES[drive]
    variant, settings = RECIPES[recipe]
    steps = _STEPS.value
    return _run(
        [
            "mdm_jax.main",
            f"--config=configs/video.py:{variant}",
            f"--workdir={workdir}",
            f"--config.dataset.path={pathlib.Path(_FOOTAGE.value) / frames}",
            f"--config.dataset.intrinsics={intrinsics}",
            "--config.dataset.size=64x208",
            f"--config.seed={seed}",
            f"--config.train.num_steps={steps}",
            f"--config.two_view.decay_steps={steps}",
            f"--config.motion_field.regularizer_ramp_steps={steps}",
            *settings,
        ]
    )


def _truth(drive: str) -> pathlib.Path:
    return pathlib.Path(_FOOTAGE.value).resolve() / DRIVES[drive][2]


def _frames_with_truth(drive: str, folder: pathlib.Path) -> list[str]:
    """Links the frames that have truth into a folder, and returns the frames' names."""
    frames = pathlib.Path(_FOOTAGE.value).resolve() / DRIVES[drive][0]
    stems = {path.stem for path in frames.iterdir()}
    if drive != "lidar":
        stems &= {path.stem for path in _truth(drive).iterdir()}
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for path in sorted(frames.iterdir()):
        if path.stem in stems and path.suffix in (".jpg", ".png"):
            link = folder / path.name
            if not link.is_symlink():
                link.symlink_to(path)
            names.append(path.name)
    return names


def _evaluate(drive: str, workdir: pathlib.Path | None, folder: pathlib.Path) -> dict:
    """Returns the metrics of a run, or of constant depth."""
    images = folder / f"frames_{drive}"
    names = _frames_with_truth(drive, images)
    command = ["mdm_jax.evaluate", "--protocol=kitti_eigen"]
    command.append(f"--ground_truth={_truth(drive)}")
    if drive == "lidar":
        # One line a frame, as the published list of test frames has them.
        lines = [
            f"{_LIDAR.partition('/')[2]} {int(name[:-4]):010d} l" for name in names
        ]
        listed = folder / "frames_lidar.txt"
        atomic.write_text(listed, "\n".join(lines) + "\n")
        command.append(f"--kitti_frames={listed}")
    if workdir is None:
        output = folder / f"constant_{drive}"
        depths = folder / f"constant_{drive}.npy"
        np.save(depths, np.ones((len(names), 16, 52), np.float32))
        command += ["--prediction_kind=depth", f"--predictions={depths}"]
    else:
        output = workdir / "evaluation"
        command.append(f"--workdir={workdir}")
        if drive != "lidar":
            command.append(f"--images={images}")
    _run([*command, f"--output={output}"])
    return json.loads((output / "metrics.json").read_text())


def main(argv: Sequence[str]):
    if len(argv) > 1 or not _FOOTAGE.value or not _OUTPUT.value:
        raise app.UsageError("expected --footage=DIR and --output=DIR")
    output = pathlib.Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    file = output / "own_video.json"
    results = json.loads(file.read_text()) if file.exists() else []
    known = {result["name"] for result in results}
    for drive in _DRIVES.value:
        for recipe in _RECIPES.value:
            trained = recipe != "constant"
            for seed in _SEEDS.value if trained else [""]:
                name = f"{drive}_{recipe}"
                name += f"_{_STEPS.value}_seed{seed}" if trained else ""
                if name in known:
                    continue
                workdir = output / name if trained else None
                seconds = _train(drive, recipe, seed, workdir) if workdir else 0.0
                metrics = _evaluate(drive, workdir, output)
                results.append(
                    {
                        "name": name,
                        "cpu_minutes": round(seconds / 60, 2),
                        "abs_rel": round(metrics["depth/abs_rel"], 4),
                        "rmse_m": round(metrics["depth/rmse"], 3),
                        "delta_1.25": round(metrics["depth/a1"], 4),
                        "images": int(metrics["depth/num_images"]),
                        "version": mdm_jax.__version__,
                    }
                )
                atomic.write_text(file, json.dumps(results, indent=2) + "\n")
                print(json.dumps(results[-1]), flush=True)


if __name__ == "__main__":
    app.run(main)
