"""The benches of a saved run: which network they take."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

from labkit.benches.deploy import DeployBench
from labkit.benches.engines import EngineBench
from labkit.benches.record import option
from labkit.cli.arguments import on_terminal
from labkit.data import Images, ImageSet
from labkit.networks.supernet import Network, derive
from labkit.networks.training import TrainConfig
from labkit.runs import run as runs


@dataclass(frozen=True)
class DeployRun(DeployBench):
    """The chosen network of a run, trained as by `export`: what eight bits cost is another thing on shared weights."""

    run_folder: str = option("", "folder of a search", positional=True, metavar="RUN")
    epochs: int | None = option(None, "of its training; by default what `export` trained, else 6")

    @cached_property
    def loaded(self) -> runs.Run:
        """The run."""
        return runs.load(self.run_folder)

    @cached_property
    def trained(self) -> tuple[Network, ImageSet, float]:
        """The network, its images and its test accuracy."""
        seed = self.loaded.result.config.seed
        if self.epochs is None:
            config = runs.trained_by(self.loaded) or TrainConfig(seed=seed)
        else:
            config = TrainConfig(epochs=self.epochs, seed=seed)
        images = self.loaded.image_set()
        network, accuracy = runs.train_chosen(self.loaded, images, config, device=self.device, progress=on_terminal())
        return network, images, accuracy

    def network(self) -> tuple[Network, ImageSet]:
        """The trained network of the run.

        Returns:
            The network, and the images of the search.
        """
        network, images, _ = self.trained
        return network, images

    def about(self) -> dict[str, object]:
        """What the record says of the run.

        Returns:
            A JSON object.
        """
        return {"data": asdict(self.loaded.data), "test_accuracy": self.trained[2]}


@dataclass(frozen=True)
class EnginesOfRuns(EngineBench):
    """The chosen networks of runs; a random network a space without them."""

    runs: tuple[str, ...] = option(
        (), "folders of searches; a random network a space otherwise", positional=True, metavar="RUN"
    )

    def networks(self) -> Sequence[tuple[Network, Images]]:
        """The chosen networks of the runs, with the shared weights.

        Returns:
            Each network with training images to calibrate it on.
        """
        if not self.runs:
            return super().networks()
        loaded = [runs.load(folder) for folder in self.runs]
        return [(derive(run.result.supernet, run.result.architecture), run.image_set().train) for run in loaded]
