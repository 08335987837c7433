"""Mask R-CNN of torchvision as a mask source, with weights from a file."""

from __future__ import annotations

import pathlib

from mdm_jax.annotation.mask_sources import MaskSource
from mdm_jax.flow import torchvision_networks
from mdm_jax.flow.video_frame import Frame
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances

# A pixel belongs to a mask from this probability on.
_MASK_THRESHOLD = 0.5


def load(weights: pathlib.Path) -> MaskSource:
    """Returns Mask R-CNN with ResNet-50 and FPN, first or second version.

    Classes are COCO's: 1 person, 2 bicycle, 3 car, 4 motorcycle, 6 bus, 8 truck.

    Raises:
        ImportError: torchvision is not installed.
        DataError: the weights are missing or of another network.
    """
    torch, models = torchvision_networks.import_torchvision()
    detection = models.detection
    network = torchvision_networks.load(
        torch,
        weights,
        {
            "maskrcnn_resnet50_fpn": detection.maskrcnn_resnet50_fpn,
            "maskrcnn_resnet50_fpn_v2": detection.maskrcnn_resnet50_fpn_v2,
        },
        weights_backbone=None,
    )
    device = next(network.parameters()).device

    def find(frame: Frame) -> Instances:
        image = torch.from_numpy(frame.image.copy()).to(device)
        with torch.inference_mode():
            (found,) = network([image.permute(2, 0, 1).float() / 255])
        found = {key: value.cpu().numpy() for key, value in found.items()}
        return instances.create(
            found["masks"][:, 0] > _MASK_THRESHOLD,
            classes=found["labels"],
            scores=found["scores"],
        )

    return find
