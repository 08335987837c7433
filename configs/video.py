"""Your own video: a folder of frames or a video file, with or without calibration.

    python -m mdm_jax.main --config=configs/video.py --workdir=runs/mine \\
        --config.dataset.path=/path/to/frames_or_video.mp4

Without variants, networks have a quarter of the papers' widths at 128x416, which a GPU
trains in minutes and two CPU cores in an hour or two.

Intrinsics (`--config.dataset.intrinsics=`): `fx,fy,cx,cy` in pixels of the original
frames, the path of a text file with 4 or 9 numbers, `fov:65` for a horizontal field of
view in degrees, or `learned` for one learned set per video. By default `cam.txt` in the
folder is read.

A folder of videos, or of folders, is one recording each, such as clips of many cameras
from the web. Recordings of different sizes are cropped to the shape of `dataset.size`.

`--config.dataset.crop=0,0.2,0,0` crops a fifth at the bottom (a bonnet), and
`--config.dataset.frame_stride=2` pairs every frame with the next but one.

There is no ground truth: the run writes `panel.png` with depth, object motion and the
warped frame, and the colour error in `metrics.json`.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets


def _use_paper_net(config):
    """The motion net of Li et al. 2020."""
    config.motion_field.motion_net = "paper"


def _use_full_width(config):
    """A full ResNet-18."""
    config.networks.width_multiplier = 1.0


VARIANTS = {
    "motion_field": presets.use_motion_field,
    "instance_motion": presets.use_instance_motion,
    "pretrained": presets.use_pretrained,
    "smoke": presets.shrink_to_smoke,
    "paper_net": _use_paper_net,
    "full_width": _use_full_width,
}


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, such as `paper_net,full_width`."""
    c = config_lib.base_config()
    c.dataset.name = "video"
    c.dataset.size = (128, 416)

    presets.use_short_schedule(c, num_steps=4000)
    c.networks.width_multiplier = 0.25
    c.train.batch_size = 4
    c.train.log_every = 50
    c.train.checkpoint_every = 500
    c.evaluation.max_frames = 200
    return presets.apply_variants(c, arg, VARIANTS)
