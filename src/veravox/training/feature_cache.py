"""Features of frozen front ends, computed once and kept on disk: an epoch of a small expert then takes seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from veravox.audio import WindowPolicy, read_audio
from veravox.audio.windows import tile
from veravox.batches.pairing import Draw
from veravox.batches.scoring import speech_windows
from veravox.batches.training import RECORDED, TrainingWindows, Window
from veravox.errors import TrainingError
from veravox.files import whole_file
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel
from veravox.training.track import Progress

BUCKETS = 64
BATCH = 16


class FeatureCache:
    """Windows' features in files of a folder, by what they were made from; what is there is not computed again.

    A row's key names the recording's bytes, the noise it went through and where it was cut; the folder's name the
    front ends and their weights. Files are written whole, so a run that was killed goes on with what it had.

    Args:
        detector: whose front ends are frozen.
        folder: where to keep them.
    Raises:
        TrainingError: if a front end may learn.
    """

    def __init__(self, detector: DetectorModel, folder: Path) -> None:
        learning = [name for name in detector.trainable if name.startswith("front_ends.")]
        if learning:
            raise TrainingError(
                f"features can be cached only of frozen front ends, but {learning[0]!r} may learn; "
                "set train: frozen, or training.cache_copies=0"
            )
        self.detector = detector
        self.folder = folder / _front_end_digest(detector)
        self.open: dict[int, tuple[dict[str, int], Tensor]] = {}

    def rows(
        self, keys: Sequence[str], windows: Dataset[Any], workers: int, progress: Progress, what: str
    ) -> Tensor:
        """Features of windows, shape (keys, F), float32, in order; those not yet kept are computed.

        Args:
            keys: one for each of the windows.
            windows: gives the samples (S,) at an index.
            workers: processes that load.
            progress: shows what is computed.
            what: its name there.
        """
        missing = [index for index, key in enumerate(keys) if not self._has(key)]
        buckets: dict[int, list[int]] = {}
        for index in missing:
            buckets.setdefault(_bucket(keys[index]), []).append(index)
        with progress(what, len(keys)) as advance:
            advance(len(keys) - len(missing))
            for bucket, members in sorted(buckets.items()):
                chosen = list(dict.fromkeys(keys[index] for index in members))
                first = {keys[index]: index for index in reversed(members)}
                made = torch.cat(list(self._computed([first[key] for key in chosen], windows, workers)))
                self._add(bucket, chosen, made)
                advance(len(members))
        kept = ((_bucket(key), key) for key in keys)
        return torch.stack([self.open[bucket][1][self.open[bucket][0][key]] for bucket, key in kept])

    def _computed(self, indices: Sequence[int], windows: Dataset[Any], workers: int) -> Iterator[Tensor]:
        options: dict[str, Any] = {"multiprocessing_context": "spawn"} if workers else {}
        loader = DataLoader(
            _Samples(windows, indices), batch_size=BATCH, num_workers=workers, collate_fn=np.stack, **options
        )
        device = next(self.detector.buffers()).device
        was_training = self.detector.training
        self.detector.eval()
        with torch.inference_mode():
            for batch in loader:
                yield self.detector.flat_features(torch.from_numpy(batch).to(device)).cpu()
        self.detector.train(was_training)

    def _has(self, key: str) -> bool:
        bucket = _bucket(key)
        if bucket not in self.open:
            self.open[bucket] = self._read(bucket)
        return key in self.open[bucket][0]

    def _file(self, bucket: int) -> Path:
        return self.folder / f"{bucket:02d}.safetensors"

    def _read(self, bucket: int) -> tuple[dict[str, int], Tensor]:
        file = self._file(bucket)
        if not file.is_file():
            return {}, torch.zeros(0, 0)
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                keys = json.loads((opened.metadata() or {})["keys"])
                return {key: row for row, key in enumerate(keys)}, opened.get_tensor("features")
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(f"{str(file)!r} is damaged ({error}); remove it, it is made again") from error

    def _add(self, bucket: int, keys: Sequence[str], features: Tensor) -> None:
        known, before = self.open[bucket]
        whole = torch.cat([before, features]) if known else features
        names = [*known, *keys]
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._file(bucket)) as temporary:
            temporary.write_bytes(safetensors.torch.save({"features": whole}, {"keys": json.dumps(names)}))
        self.open[bucket] = ({key: row for row, key in enumerate(names)}, whole)


class _Samples(Dataset[np.ndarray]):
    """Chosen windows of a data set, as bare samples."""

    def __init__(self, windows: Any, indices: Sequence[int]) -> None:
        self.windows, self.indices = windows, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> np.ndarray:
        samples: np.ndarray = self.windows[self.indices[index]]
        return samples


class _Copies(Dataset[np.ndarray]):
    """The windows of every copy of every training trial: copy 0 of all, then copy 1, ...

    Copy 0 is the recording's first window as it is. The noise of others is drawn for the recording's content, so
    that rows outlive other trials that come and go.
    """

    def __init__(self, windows: TrainingWindows, contents: Sequence[str]) -> None:
        self.windows, self.noise = windows, [int(content[:8], 16) for content in contents]

    def __getitem__(self, index: int) -> np.ndarray:
        copy, trial = divmod(index, len(self.windows))
        if copy == 0:
            return first_window(self.windows.paths[trial], self.windows.policy)
        return self.windows[Draw(copy, self.noise[trial], trial)].samples


class CachedWindows(Dataset[Window]):
    """Training windows whose samples are features (F,): one of a trial's copies, by epoch.

    Args:
        windows: what the copies are made of.
        cache: where features are kept.
        copies: of each trial, each with noise and a crop of its own.
        share: of the trials, chosen by their content, that get more than copy 0; the others repeat it.
        workers: processes that load while the cache is filled.
        progress: shows the filling.
    """

    def __init__(
        self,
        windows: TrainingWindows,
        cache: FeatureCache,
        copies: int,
        share: float,
        workers: int,
        progress: Progress,
    ) -> None:
        if windows.synthesis or windows.masks[0]:
            raise TrainingError(
                "copy-synthesis and spec_augment need features made anew each epoch; set training.cache_copies=0"
            )
        noise = json.dumps([windows.augmentation, windows.seed], sort_keys=True)
        contents = [content_of(path) for path in windows.paths]
        disturbed = [int(content[8:16], 16) < share * 2**32 for content in contents]
        keys = [
            _digest(content, noise, str(copy)) if copy and chosen else plain_key(content)
            for copy in range(copies)
            for content, chosen in zip(contents, disturbed, strict=True)
        ]
        self.targets, self.copies, self.seed = windows.targets, copies, windows.seed
        self.features = cache.rows(
            keys, _Copies(windows, contents), workers, progress, "features of train"
        ).numpy()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, draw: Draw) -> Window:
        row = self.features[draw.epoch % self.copies * len(self.targets) + draw.trial]
        return Window(row, self.targets[draw.trial], draw.trial, np.zeros(0, np.float32), RECORDED, None, ())


class DevWindows(Dataset[np.ndarray]):
    """All windows of dev trials, one trial after the other.

    Attributes:
        starts: of each trial, the first sample of each of its windows.
    Args:
        paths: of the trials.
        policy: which windows are scored.
    """

    def __init__(self, paths: Sequence[str], policy: WindowPolicy) -> None:
        self.paths, self.policy = list(paths), policy
        self.starts = [speech_windows(read_audio(path, SAMPLE_RATE_HZ), policy)[0] for path in paths]
        self.owners = [trial for trial, starts in enumerate(self.starts) for _ in starts]
        self.numbers = [number for starts in self.starts for number in range(len(starts))]

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, index: int) -> np.ndarray:
        waveform = read_audio(self.paths[self.owners[index]], SAMPLE_RATE_HZ)
        windows: np.ndarray = speech_windows(waveform, self.policy)[2]
        return windows[self.numbers[index]]

    def keys(self) -> list[str]:
        """What each window is made from."""
        digests = [content_of(path) for path in self.paths]
        found = []
        for owner, number in zip(self.owners, self.numbers, strict=True):
            start = self.starts[owner][number]
            if self.policy.of_speech:
                found.append(_digest(digests[owner], f"speech from {start}"))
            else:
                found.append(_digest(digests[owner], f"from {start}") if start else plain_key(digests[owner]))
        return found


def first_window(path: str, policy: WindowPolicy) -> np.ndarray:
    """A recording's first window (S,), tiled if it is shorter."""
    whole = read_audio(path, policy.sample_rate_hz)
    return tile(whole, policy.window_samples)[: policy.window_samples]


def plain_key(content: str) -> str:
    """Names the first window of a recording as it is."""
    return _digest(content, "first window")


def _front_end_digest(detector: DetectorModel) -> str:
    """Names front ends, their weights, and what a window goes through before them."""
    spec = detector.spec.to_dict()
    digest = hashlib.sha256(
        json.dumps([spec[key] for key in ("front_ends", "window_s", "level_dbfs", "segments")]).encode()
    )
    for name, tensor in detector.front_ends.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def content_of(path: str) -> str:
    """SHA-256 of a file's bytes."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise TrainingError(f"{path!r} cannot be read: {error.strerror or error}") from error


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _bucket(key: str) -> int:
    return int(key[:8], 16) % BUCKETS
