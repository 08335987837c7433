"""Synthetic drives: learns depth, egomotion and object motion on a laptop's CPU.

    python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo

Unseen test drives, seed 0, beside the best guess that ignores the image: Abs Rel 0.231
(0.321), on moving cars 0.403 (0.475), 3 % of their pixels over 3 times too far;
egomotion translation error 0.163 (0.490), direction 2.5 degrees; motion IoU 0.310
(0.079). The training drives: Abs Rel 0.204 (0.282), on moving cars 0.544 (0.497). 18
minutes of training on one CPU core. Depth is coarse: at this size and length of
training it follows the street, not yet single cars and poles.

These were measured with 4 channels in the decoder's finest layer. With seed 1 these died
between steps 250 and 500 and depth became constant; with at least 8, as now, they lived
(tried for 500 steps). The whole run has not been measured again since.
"""

from mdm_jax import config as config_lib

VARIANTS = (
    "motion_field",
    "instance_motion",
    "smoke",
    "long",
    "paper_net",
    "paper_size",
    "validation",
)


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, such as `paper_net,long`.

    Args:
        arg: `motion_field` is the default, `instance_motion` the other method; `smoke`
            takes ten steps at toy size, to see that all works; `long` trains five times
            as long; `paper_net` has the motion net of Li et al. 2020 instead of the
            correlation net; `paper_size` takes the full ResNet-18 at 128x416, for an
            accelerator; `validation` evaluates on validation instead of test drives.
    """
    c = config_lib.base_config()
    c.dataset.name = "synthetic"
    # Below this size the colour error hardly tells the true depth from a guess.
    c.dataset.size = (48, 160)
    # Many short drives: each is another street, and variety is what generalises.
    c.dataset.num_drives = 80
    c.dataset.frames_per_drive = 20
    # Held-out drives are longer, so that each has stops, bends and junctions.
    c.dataset.num_evaluation_drives = 6
    c.dataset.frames_per_evaluation_drive = 80

    config_lib.use_short_schedule(c, num_steps=4000)
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

    for variant in filter(None, arg.split(",")):
        if variant == "motion_field":
            c.method = "motion_field"
        elif variant == "instance_motion":
            config_lib.use_instance_motion(c)
            c.networks.ego_pose = "correlation"
            c.optimizer.muon_networks = ("depth_net",)
        elif variant == "smoke":
            c.dataset.size = (32, 96)
            c.dataset.num_drives = c.dataset.num_evaluation_drives = 1
            c.dataset.frames_per_drive = 12
            c.dataset.frames_per_evaluation_drive = 12
            c.networks.motion_width_multiplier = 0.25
            c.train.num_steps = 10
            c.train.log_every = c.train.checkpoint_every = 5
        elif variant == "long":
            c.dataset.num_drives *= 4
            c.train.num_steps *= 5
            c.motion_field.regularizer_ramp_steps *= 5
        elif variant == "paper_net":
            c.networks.motion_net = "paper"
            c.optimizer.muon_networks = ("depth_net",)
        elif variant == "paper_size":
            c.dataset.size = (128, 416)
            c.networks.width_multiplier = 1.0
            c.optimizer.learning_rate = 2e-4
            c.train.batch_size = 16
        elif variant == "validation":
            c.evaluation.split = "validation"
        else:
            raise ValueError(
                f"configs/synthetic.py knows the variants {', '.join(VARIANTS)}, "
                f"got {variant!r}"
            )
    return c
