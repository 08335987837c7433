"""Batches of clips for training: shuffled, augmented, sharded and resumable.

    clips -> shuffle -> repeat -> augment -> shard -> batch -> prefetch

All but the last step are random access: batch number i is a function of the seed and i
alone. Three things follow. The state of an iterator is one number, the count of batches
taken. The number of threads or worker processes changes no batch. And as augmentation
comes before the split, the global batch (that of all shards together) is the same
however many shards it is split into.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags, logging

from mdm_jax.input_pipeline import augment as augment_lib
from mdm_jax.input_pipeline import clips
from mdm_jax.recording.arrays import Recording


def make_loader(
    recordings: Sequence[Recording],
    *,
    clip_length: int,
    batch_size: int,
    seed: int,
    frame_stride: int = 1,
    static_threshold: float = 0.01,
    augment: augment_lib.AugmentConfig | Mapping[str, Any] | None = None,
    shuffle: bool = True,
    num_epochs: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    num_threads: int | None = None,
    num_workers: int = 0,
) -> Loader:
    """Returns the batches of clips of recordings.

    Args:
        recordings: with frames of one size.
        clip_length: frames in a clip.
        batch_size: clips in a batch of this shard.
        seed: of the order and the augmentation.
        frame_stride: see `clips.clip_table`.
        static_threshold: see `clips.clip_table`.
        augment: what to change at random; None for nothing.
        shuffle: in a new order every epoch; False for the order of the recordings.
        num_epochs: None for endless. A batch that is not full is dropped.
        shard_index: of this process, such as `jax.process_index()`.
        shard_count: number of processes that share the clips.
        num_threads: that load ahead in this process; by default one for each core, at
            most 8; 0 loads when asked.
        num_workers: processes that load ahead; 0 for threads of this process alone,
            which suffice: decoding leaves the interpreter free.

    Returns:
        A Grain `IterDataset`. Its elements are dictionaries of NumPy arrays with the
        keys and axes of `structs.Batch`; frames are uint8. Close its iterators when
        done if there are worker processes.

    Raises:
        ValueError: as listed at `clips.clip_table` and `clips.ClipSource`; options out
            of range; not one full batch.
    """
    if batch_size < 1 or not 0 <= shard_index < shard_count:
        raise ValueError(
            "expected batch_size >= 1 and 0 <= shard_index < shard_count, got"
            f" {batch_size}, {shard_index} and {shard_count}"
        )
    table = clips.clip_table(
        recordings,
        clip_length=clip_length,
        frame_stride=frame_stride,
        static_threshold=static_threshold,
    )
    source = clips.ClipSource(recordings, table)
    # Grain adds the epoch to the shuffle's seed, so neighbouring seeds would give
    # each other's epochs; these are spread out.
    shuffle_seed, augment_seed = np.random.SeedSequence(seed).generate_state(2)
    dataset = grain.MapDataset.source(source)
    if shuffle:
        dataset = dataset.shuffle(seed=int(shuffle_seed))
    dataset = dataset.repeat(num_epochs)
    if augment is not None:
        config = augment_lib.make_config(augment)
        dataset = dataset.random_map(
            augment_lib.Augment(config), seed=int(augment_seed)
        )
    dataset = dataset[shard_index::shard_count].batch(batch_size, drop_remainder=True)
    if not len(dataset):
        raise ValueError(
            f"{len(source)} clips in {num_epochs} epochs for {shard_count} shards give"
            f" no full batch of {batch_size}; lower batch_size or give more frames"
        )
    if num_threads is None:
        num_threads = min(8, os.cpu_count() or 1)
    logging.info("Loading %s, %d clips a batch, seed %d", source, batch_size, seed)
    return Loader(dataset, source, num_threads=num_threads, num_workers=num_workers)


class Loader(grain.IterDataset):
    """An iterable data set whose iterators can be saved and resumed.

    An iterator's `get_state` is `{"next_index": count of batches taken}`, in JSON as
    `grain.checkpoint` and Orbax keep it, and it may be resumed with other numbers of
    threads, workers and (with the same global batch) shards.

    Attributes:
        source: the `clips.ClipSource` of all shards.
    """

    def __init__(
        self,
        batches: grain.MapDataset,
        source: clips.ClipSource,
        *,
        num_threads: int,
        num_workers: int,
    ):
        super().__init__()
        self.source = source
        self._batches = batches
        self._num_threads = num_threads
        self._num_workers = num_workers

    def __iter__(self) -> LoaderIterator:
        return LoaderIterator(self)

    def __str__(self) -> str:
        return f"Loader({self.source})"

    def start_at(self, next_index: int) -> grain.DatasetIterator:
        """Returns Grain's iterator over the batches from a number on."""
        batches = self._batches[next_index:] if next_index else self._batches
        # A batch is megabytes and Grain's default is to hold 500.
        options = grain.ReadOptions(
            num_threads=self._num_threads,
            prefetch_buffer_size=max(2, self._num_threads) if self._num_threads else 0,
        )
        dataset = batches.to_iter_dataset(options)
        if self._num_workers:
            # Grain reads absl flags, which nobody parsed outside absl.app.run (in a
            # notebook or a test), and would raise.
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()
            dataset = dataset.mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=self._num_workers, per_worker_buffer_size=2
                )
            )
        return iter(dataset)


class LoaderIterator(grain.DatasetIterator):
    """Iterates over a loader; see there for its state."""

    def __init__(self, loader: Loader):
        super().__init__()
        self._loader = loader
        self._next_index = 0
        self._batches = None

    def __next__(self) -> dict[str, np.ndarray]:
        batch = next(self._started())
        self._next_index += 1
        # From a worker come views of shared memory, which Grain frees in `__del__`:
        # too late, with errors, for a batch that lives until the interpreter ends.
        return {
            key: value if type(value) is np.ndarray else np.array(value, subok=False)
            for key, value in batch.items()
        }

    def start_prefetch(self):
        """Starts to load ahead, in the background, before the first batch is asked."""
        self._started().start_prefetch()

    def get_state(self) -> dict[str, int]:
        """Returns how many batches were taken, whatever was loaded ahead."""
        return {"next_index": self._next_index}

    def set_state(self, state: Mapping[str, int]):
        """Goes on after as many batches as the state says."""
        self._stop()
        self._next_index = int(state["next_index"])

    def close(self):
        """Ends threads and worker processes for good."""
        self._closed = True
        self._stop()

    def _started(self) -> grain.DatasetIterator:
        if self._closed:
            raise ValueError("the iterator is closed; make a new one from the loader")
        if self._batches is None:
            self._batches = self._loader.start_at(self._next_index)
        return self._batches

    def _stop(self):
        if self._batches is not None:
            self._batches.close()
            self._batches = None
