"""Rendered drives: learns depth, egomotion and object motion on a laptop's CPU.

    python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo

Time on two CPU cores, and what to expect on unseen test drives: Abs Rel of depth, of all
pixels and of moving cars (in brackets: the best guess that ignores the image), and IoU of
object motion.

    variant                 minutes   Abs Rel        moving cars    motion IoU
    motion_field            11        0.207 (0.310)  0.356 (0.465)  0.339 (0.072)
    motion_field,long       45        0.191          0.336          0.252
    motion_field,large      100       0.187          0.323          0.193
    instance_motion         11        0.190 (0.301)  0.310 (0.485)  0.776 (0.072)
    instance_motion,long    50        0.173          0.293          0.798
    instance_motion,large   110       0.159          0.279          0.781

`smoke` takes ten steps at toy size. Seeds, ablations and what was tried are in
docs/results.md; `instance_motion` is measured on 18 test drives.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets


def _use_instance_motion(config):
    """Method B."""
    presets.use_instance_motion(config)
    # Two frames teach as much per second as the paper's three, and show more streets.
    config.dataset.clip_length = 2
    config.instance_motion.ego_pose = "correlation"
    # Cars have few pixels here, which the object net hardly sees in whole images.
    config.instance_motion.object_zoom = 32
    config.instance_motion.rotation_center = "object"
    config.instance_motion.auto_mask_geometric = False
    # The depth that an untrained net predicts, which the object priors assume.
    config.train.log_depth_pin = -0.36
    # Before egomotion is learned, nothing opposes these two, and with the published
    # weights depth becomes constant within a hundred steps and stays so.
    config.loss_weights.smoothness = 0.01
    config.loss_weights.geometric = 0.02
    config.optimizer.muon_networks = ("depth_net",)
    config.train.num_steps = 2700


def _shrink_to_smoke(config):
    """Ten steps at toy size, as a test."""
    presets.shrink_to_smoke(config)
    config.dataset.size = (32, 96)
    config.dataset.num_drives = config.dataset.num_evaluation_drives = 1
    config.dataset.frames_per_drive = 12
    config.dataset.frames_per_evaluation_drive = 12


def _train_longer(config):
    """Three times as long on twice the drives."""
    config.dataset.num_drives *= 2
    config.train.num_steps *= 3
    config.motion_field.regularizer_ramp_steps *= 3


def _enlarge(config):
    """Images of 64x208, a depth net twice as wide, trained three times as long."""
    config.dataset.size = (64, 208)
    config.networks.width_multiplier *= 2
    config.train.num_steps *= 3
    config.motion_field.regularizer_ramp_steps *= 3


def _use_paper_net(config):
    """The motion net of Li et al. 2020, as narrow as the depth net."""
    config.motion_field.motion_net = "paper"
    config.networks.motion_width_multiplier = 0.25
    config.optimizer.muon_networks = ("depth_net",)


def _use_paper_size(config):
    """The full ResNet-18 at 128x416, for an accelerator."""
    config.dataset.size = (128, 416)
    config.networks.width_multiplier = 1.0
    config.networks.motion_width_multiplier = 1.0
    config.optimizer.learning_rate = 2e-4
    config.train.batch_size = 16


def _evaluate_on_validation(config):
    """Validation instead of test drives, to choose a recipe."""
    config.evaluation.split = "validation"


VARIANTS = {
    "motion_field": presets.use_motion_field,
    "instance_motion": _use_instance_motion,
    "smoke": _shrink_to_smoke,
    "long": _train_longer,
    "large": _enlarge,
    "paper_net": _use_paper_net,
    "paper_size": _use_paper_size,
    "validation": _evaluate_on_validation,
}


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, such as `paper_net,long`."""
    c = config_lib.base_config()
    c.dataset.name = "synthetic"
    # In smaller images the colour error hardly distinguishes true depth from a guess.
    c.dataset.size = (48, 160)
    # Many short drives: each shows another street, and variety generalises.
    c.dataset.num_drives = 240
    c.dataset.frames_per_drive = 8
    # Held-out drives are longer, so that each has stops, bends and junctions.
    c.dataset.num_evaluation_drives = 6
    c.dataset.frames_per_evaluation_drive = 80

    presets.use_short_schedule(c, num_steps=3300)
    # At this size flow is too coarse for triangulated depth to help.
    for name in presets.TWO_VIEW_WEIGHTS:
        c.loss_weights[name] = 0.0
    c.networks.width_multiplier = 0.25
    # The speed at which the depth net learns limits the result, even with true motion or
    # true depth. Muon needs less than half of Adam's steps. The residual head gets it
    # too: if depth learns faster than object motion, cars at the camera's speed are
    # explained by infinite depth.
    c.optimizer.name = "muon"
    c.optimizer.muon_iterations = 4
    c.optimizer.muon_networks = ("depth_net", "motion_net/head")

    c.augment.min_crop_scale = 0.85
    c.train.batch_size = 4
    c.train.log_every = 100
    c.train.checkpoint_every = 1000
    c.evaluation.max_frames = 240
    return presets.apply_variants(c, arg, VARIANTS)
