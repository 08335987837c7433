"""The metadata by which TFDS opens a prepared folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence

from etils import epath

from mdm_jax.files import atomic
from mdm_jax.prepared import layout, plan, records, shards

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def write(planned: plan.Plan, notes: Sequence[shards.Notes]) -> None:
    """Writes `features.json` and then `dataset_info.json`, which marks completion."""
    tfds = records.import_tfds()
    from tensorflow_datasets.core import dataset_info, file_adapters, naming

    options, folder = planned.options, planned.options.folder
    template = naming.ShardedFileTemplate(
        data_dir=epath.Path(folder),
        dataset_name=options.name,
        filetype_suffix="array_record",
        template=_TEMPLATE,
    )
    of_part = {part: [] for part in planned.parts}
    for shard, note in zip(planned.shards, notes, strict=True):
        of_part[shard.part].append(note)
    infos = [
        tfds.core.SplitInfo(
            name=part,
            shard_lengths=[note.shard.num_frames for note in group],
            num_bytes=sum(note.record_bytes for note in group),
            filename_template=template.replace(split=part),
        )
        for part, group in of_part.items()
    ]
    info = dataset_info.DatasetInfo(
        builder=dataset_info.DatasetIdentity(
            name=options.name,
            version=tfds.core.Version(layout.VERSION),
            data_dir=str(folder),
            module_name="",
            config_name=folder.parent.name,
        ),
        description=(
            f"Frames of {options.name} at {options.size[0]} x {options.size[1]} pixels"
            " with their intrinsics and what else is known, one record each."
        ),
        features=records.features(options.size, options.image_format, planned.optional),
    )
    info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD)
    info.set_splits(tfds.core.splits.SplitDict(infos))
    with tempfile.TemporaryDirectory() as scratch:
        info.write_to_directory(scratch)
        names = sorted(os.listdir(scratch), key=lambda name: name == layout.INFO)
        for name in names:
            with atomic.replacing(folder / name, sync=True) as temporary:
                shutil.copyfile(os.path.join(scratch, name), temporary)
