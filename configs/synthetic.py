"""Synthetic drives: learns depth, egomotion and object motion on a laptop's CPU.

    python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo

Seeds 0, 1, 2 on unseen test drives, beside the best guess that ignores the image: Abs
Rel 0.207, 0.207, 0.204 (0.310), on moving cars 0.356, 0.320, 0.355 (0.465), at most
0.8 % of their pixels over 3 times too far; egomotion translation error 0.154, 0.156,
0.160 (0.490), direction 2.5 degrees; motion IoU 0.339, 0.326, 0.351 (0.072). On the
training drives Abs Rel 0.178, 0.178, 0.176 (0.275). Eleven minutes on two CPU cores.
Depth is coarse: at this size and length of training it follows the street, hardly single
cars and poles.

`long`, seed 0, three quarters of an hour on one core: Abs Rel 0.191 on the test and 0.171
on the training drives, on moving cars 0.336, translation error 0.136, motion IoU 0.252.
`large`, seed 0, an hour and forty minutes on one core: 0.187 on the test drives (0.309),
0.151 on the training drives (0.274: 0.55 of it, where the demo comes to 0.65), on moving
cars 0.323, translation error 0.148, motion IoU 0.193. Of what is left on training drives,
cars have 22 % (on 8 % of the pixels) and distances beyond 30 m 29 %.
`paper_net`, the paper's motion net as narrow as the depth net, seed 0: 0.308 on the test
drives, translation error 0.371, direction 12 degrees, motion IoU 0.050. In so short a
training it finds no motion, and so no depth.

The recipe was chosen on validation drives. What mattered most there: 240 drives of 8
frames instead of 80 of 20, leading cars 13 to 28 m ahead instead of 9 to 18 (both
together: Abs Rel relative to the guess 0.74 to 0.69), Muon instead of Adam, and at least
8 channels in the decoder's finest layers, which die with 4.

`instance_motion`, eleven minutes, seeds 0 and 1 on 18 test drives: Abs Rel 0.190, 0.205, on
moving cars 0.310, 0.324 (without object motion, `instance_motion.object_pose=none`: 0.364, 0.397;
`motion_field`, three seeds: 0.404, 0.352, 0.388), none of the pixels of cars at the
camera's speed too far, motion IoU 0.776, 0.767; direction of single objects 32, 31
degrees. That objects are shown at one size is what finds their motion (on six validation
drives 19 degrees, before 49). On 12 validation drives, bounding the depth of what the image
cuts off takes direction from 27.6 to 24.0 degrees. A height prior of 0.1 or 0.3 instead of
0.02 makes all of it worse, one of logarithms too, and one whose height is learned from the
ground below objects, which they then pull towards them. Telling the object net where images
end, and measuring no displacement of what they cut, makes direction better by 3 and 4
degrees and Abs Rel on moving cars worse by 0.02 and 0.04 (two seeds); a prior that objects
rest makes neither better, nor does a photometric loss of frames eight times coarser beside
the fine one; and one that moves an object's outline onto that in the source makes the
median direction one degree better, the mean not.

`instance_motion,long`, seed 0, 50 minutes on one core, on the same 18 test drives: Abs Rel
0.173, on moving cars 0.293, motion IoU 0.798, direction 29.7 degrees (median 10.2; 22.2 on
the training drives). `instance_motion,large`, an hour and fifty minutes: 0.159, 0.279,
0.781, 31.6 degrees (median 8.2) of more objects, since more have 60 pixels; of those as
large in the view as the demo's, 28 where the demo has 33, and 18 where the image does not
cut them off (demo: 25). What is missing in direction is how the distance of an object
changes between two frames, known to 2 %: with that true, and depth and egomotion too, it
would be 11 degrees after the demo; with true flow instead, still 34.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets


def _use_instance_motion(config):
    """The other method."""
    presets.use_instance_motion(config)
    # Two frames teach as much per second as the paper's three, of more streets.
    config.dataset.clip_length = 2
    config.instance_motion.ego_pose = "correlation"
    # Cars are a few pixels here: in whole images the object net hardly sees them.
    config.instance_motion.object_zoom = 32
    config.instance_motion.rotation_center = "object"
    # Where an untrained net puts everything: the priors of objects are made for this.
    config.train.log_depth_pin = -0.36
    # Before egomotion is known, these two have nothing against them, and with the
    # published weights make depth constant for good within a hundred steps.
    config.loss_weights.smoothness = 0.01
    config.loss_weights.geometric = 0.02
    config.optimizer.muon_networks = ("depth_net",)
    config.train.num_steps = 2700


def _shrink_to_smoke(config):
    """Ten steps at toy size, to see that all works."""
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
    # Below this size the colour error hardly tells the true depth from a guess.
    c.dataset.size = (48, 160)
    # Many short drives: each is another street, and variety is what generalises.
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
    # What limits the result is how soon the depth net learns, even where the true
    # motion is given to it, or true depth. Muon takes less than half of Adam's steps. The
    # residual head gets it too: where depth learns faster than object motion, cars that
    # drive along are explained by infinite depth.
    c.optimizer.name = "muon"
    c.optimizer.muon_iterations = 4
    c.optimizer.muon_networks = ("depth_net", "motion_net/head")

    c.augment.min_crop_scale = 0.85
    c.train.batch_size = 4
    c.train.log_every = 100
    c.train.checkpoint_every = 1000
    c.evaluation.max_frames = 240
    return presets.apply_variants(c, arg, VARIANTS)
