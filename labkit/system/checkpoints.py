"""Checkpoints of a long computation on disk. Only whole ones are read: each is verified by its hashes.

step-000150.safetensors   tensors
step-000150.json          the rest, and the SHA-256 of both; written last, so a checkpoint that has it was whole
"""

import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from labkit.system import storage
from labkit.system.errors import InputError

KIND, SCHEMA = "checkpoint", 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a computation: all that its next step depends on.

    Attributes:
        step: number of steps that are done.
        tensors: tensors by name, on any device.
        record: the rest of the state, as JSON values.
    """

    step: int
    tensors: dict[str, Tensor]
    record: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """A folder of checkpoints.

    Attributes:
        folder: where they lie; it is created by the first one.
        every: number of steps between two checkpoints.
        keep: number of newest checkpoints to keep; None keeps all of them.

    Raises:
        InputError: `every` or `keep` is below 1.
    """

    folder: Path
    every: int = 50
    keep: int | None = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if self.every < 1 or (self.keep is not None and self.keep < 1):
            raise InputError(
                f"`every` and `keep` are at least 1; got {self.every} and {self.keep}: raise the lower one"
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the checkpoints in the folder, in rising order, damaged ones included."""
        return tuple(sorted(int(path.stem.removeprefix("step-")) for path in self.folder.glob("step-*.json")))

    def save(self, checkpoint: Checkpoint) -> bool:
        """Write a checkpoint, then remove the oldest ones beyond `keep`.

        Args:
            checkpoint: what to write.

        Returns:
            Whether it was written. If not, a warning gives the reason and the earlier checkpoints stay.
        """
        tensors, manifest = self._files(checkpoint.step)
        try:
            storage.writable_folder(self.folder)
            storage.write_tensors(tensors, checkpoint.tensors)
            value = {"kind": KIND, "schema": SCHEMA, "step": checkpoint.step, "tensors": _file_hash(tensors)}
            value |= {"record_hash": _hash(_canonical(checkpoint.record)), "record": checkpoint.record}
            storage.write_json(manifest, value)
        except (OSError, InputError) as problem:
            warnings.warn(f"no checkpoint of step {checkpoint.step} could be written: {problem}", stacklevel=2)
            return False
        for step in self.steps[: -self.keep] if self.keep else ():
            for path in reversed(self._files(step)):
                path.unlink(missing_ok=True)
        return True

    def newest(self) -> Checkpoint | None:
        """Read the newest whole checkpoint. A damaged one is skipped with a warning.

        Returns:
            The checkpoint, or None where there is none.
        """
        for step in reversed(self.steps):
            try:
                return self.at(step)
            except InputError as problem:
                warnings.warn(f"{problem}; taking the one before it", stacklevel=2)
        return None

    def at(self, step: int) -> Checkpoint:
        """Read the checkpoint of one step.

        Args:
            step: number of steps done when it was saved.

        Returns:
            The checkpoint, its tensors on the CPU.

        Raises:
            InputError: there is none of this step, or its hashes differ.
        """
        tensors, manifest = self._files(step)
        if not manifest.exists():
            there = ", ".join(map(str, self.steps)) or "none"
            raise InputError(f"there is no checkpoint of step {step} in {self.folder}; there are: {there}")
        value = storage.read_json(manifest, KIND, SCHEMA)
        try:
            whole = _hash(_canonical(value["record"])) == value["record_hash"]
            whole &= tensors.exists() and _file_hash(tensors) == value["tensors"] and value["step"] == step
        except (KeyError, ValueError, OSError):  # a number that no longer fits a float is not JSON either
            whole = False
        if not whole:
            raise InputError(f"the checkpoint of step {step} in {self.folder} was cut short or altered")
        return Checkpoint(step, storage.read_tensors(tensors), value["record"])

    def clear(self) -> None:
        """Remove the folder with all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self, step: int) -> tuple[Path, Path]:
        return self.folder / f"step-{step:06}.safetensors", self.folder / f"step-{step:06}.json"


def _canonical(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, allow_nan=False).encode()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
