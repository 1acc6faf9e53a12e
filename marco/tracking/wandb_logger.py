"""W&B as a Lightning logger that never stops, slows down or hangs a run."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from marco.tracking import wandb_artifacts, wandb_service
from marco.tracking.alerts import Level
from marco.tracking.directions import Direction
from marco.tracking.environment import git_commit, package_versions
from marco.tracking.wandb_metrics import Definitions
from marco.tracking.wandb_mode import Mode, resolve_mode
from marco.tracking.wandb_settings import Wandb
from marco.tracking.worker import Worker

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# wandb adds up to 10 s to its own init timeout and waits up to 30 s for its service to start.
START_GRACE = 40.0
FINISH_GRACE = 5.0
UPLOAD = 5e6  # bytes a second that an upload is waited for, besides the settings' finish_timeout
PAGE_LIMIT = 20e6  # bytes of a page
TITLE = 63  # characters that W&B allows an alert's title
EXIT_CODES = {"success": 0, "failed": 1, "interrupted": 255}  # 255: W&B's code for Ctrl-C


class WandbLogger(Logger):  # type: ignore[misc]
    """One W&B run. On ranks other than 0, and when W&B cannot be had, it does nothing.

    Start: the configured mode, else offline, else nothing, with one warning that says why. All
    calls into wandb are made by a worker thread, so that a W&B that hangs costs ``init_timeout``
    or ``finish_timeout`` seconds once and nothing in between. Whatever a call raises becomes
    one warning a kind. The breadth is meant: wandb raises errors of its own, of the network, of
    pydantic, protobuf and its service process, and none of them is worth a training run.

    The optimizer step is W&B's step, so that steps a resumed run repeats are not shown twice;
    ``tokens``, part of every call, is the x axis of all charts.

    Args:
        settings: what ``conf/logger/wandb.yaml`` configures.
        folder: the run folder; W&B's files go to ``<folder>/wandb``.
        config: the resolved configuration, already without secrets.
        run_id: the id of the run that is continued, from the checkpoint; None starts a new run.
    """

    def __init__(
        self,
        settings: Wandb,
        folder: Path,
        *,
        config: Mapping[str, Any],
        run_id: str | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._folder = Path(folder).resolve()
        self._config = config
        self._resume = run_id is not None
        self._run_id = run_id or secrets.token_hex(4)
        self._run: Any = None
        self._mode: Mode = "disabled"
        self._why = "not started"
        self._from_scratch = False
        self._worker: Worker | None = None
        self._started = False
        self._warned: set[str] = set()
        self._definitions = Definitions()
        self._uploads = 0.0  # seconds that the uploads under way may take

    @property
    def name(self) -> str:
        """The project."""
        return self._settings.project

    @property
    def version(self) -> str:
        """W&B's id of the run."""
        return self.run_id

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder)

    @property
    def run_id(self) -> str:
        """The id to keep in the checkpoint; it is known, and stays the same, without W&B too."""
        self.start()
        return self._run_id

    @property
    def mode(self) -> Mode:
        """How the run is really logged; ``disabled`` when W&B could not be started at all."""
        self.start()
        return self._mode

    @property
    def experiment(self) -> Any:
        """The ``wandb.Run``, or None. Calls to it are not guarded."""
        self.start()
        return self._run

    def describe(self) -> str:
        """Return a line for the user: where the run can be seen."""
        self.start()
        if self._run is None:
            return f"W&B: off ({self._why})"
        if self._mode == "online":
            return f"W&B: {self._run.url}"
        place = shlex.quote(str(self._folder / "wandb"))
        return f"W&B: offline ({self._why}); `wandb leet {place}` opens it"

    def start(self) -> None:
        """Start the W&B run; later calls do nothing. Never raises."""
        if self._started:
            return
        self._started = True
        if rank_zero_only.rank != 0:
            self._why = "not rank 0"
            return
        wanted, self._why = resolve_mode(self._settings.mode)
        if wanted == "disabled":
            return
        config = {
            **self._config,
            "git_commit": git_commit(),
            "package_versions": package_versions(),
        }
        earlier = wandb_service.online_runs(self._folder)
        reasons: list[str] = []
        attempts: list[tuple[Mode, bool]] = [(wanted, False), ("offline", True)]
        for mode, from_scratch in attempts:
            try:
                self._open(mode, from_scratch, config, earlier)
            except Exception as error:  # see the class: nothing wandb raises may stop a run
                reasons.append(_describe(error))
                if isinstance(error, ImportError):
                    break
            else:
                break
        if reasons:
            self._why = reasons[0]
            log.warning(
                "W&B could not start as configured (%s). The run goes on %s",
                "; then ".join(dict.fromkeys(reasons)),
                "with W&B offline" if self._run is not None else "without W&B",
            )

    def _open(
        self, mode: Mode, from_scratch: bool, config: Mapping[str, Any], earlier: set[Path]
    ) -> None:
        worker = Worker("wandb", self._failed)
        try:
            run = worker.call(
                lambda: wandb_service.open_run(
                    self._settings,
                    self._folder,
                    mode=mode,
                    run_id=self._run_id,
                    resume=self._resume,
                    config=config,
                    from_scratch=from_scratch,
                    earlier=earlier,
                ),
                timeout=self._settings.init_timeout + START_GRACE,
            )
        except BaseException as error:  # a Ctrl-C while waiting, too
            worker.stop()
            if isinstance(error, TimeoutError):
                _abandon_service()
            raise
        self._run, self._worker = run, worker
        self._mode, self._from_scratch = mode, from_scratch
        self._run_id = run.id  # a W&B sweep agent gives its own

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the resolved configuration is given at the start."""

    def log_metrics(self, metrics: Mapping[str, SupportsFloat], step: int | None = None) -> None:
        """Log scalars of optimizer step ``step``; ``tokens`` should be one of them."""
        values = {
            key: value if isinstance(value, int) else float(value) for key, value in metrics.items()
        }
        self._submit(lambda run: run.log(values, step=step), values)

    def set_directions(self, directions: Mapping[str, Direction]) -> None:
        """Show the best value of these metrics, too, in the run's summary."""
        self._definitions.set_directions(directions)

    def log_table(self, key: str, frame: pd.DataFrame, *, step: int, tokens: int) -> None:
        """Log ``frame`` as a W&B table."""
        copy, folder = frame.copy(), self._folder
        self._submit(
            lambda run: wandb_service.log_table(
                run, key, copy, step=step, tokens=tokens, folder=folder
            ),
            [key],
        )

    def log_image(self, key: str, path: Path, *, step: int, tokens: int) -> None:
        """Log an image file. It is read at once: the file may change afterwards."""
        self.start()
        if self._run is None:
            return
        from PIL import Image

        try:
            with Image.open(path) as file:
                image = file.copy()
        except OSError as error:
            self._failed(error)
            return
        self._submit(
            lambda run: wandb_service.log_image(run, key, image, step=step, tokens=tokens), [key]
        )

    def log_page(self, key: str, path: Path, *, step: int, tokens: int) -> None:
        """Show an HTML page that needs no other file; one of more than 20 MB is left out."""
        self.start()
        if self._run is None:
            return
        try:
            size = path.stat().st_size
        except OSError as error:
            self._failed(error)
            return
        if size > PAGE_LIMIT:
            log.warning("W&B: %s has %.0f MB and is not shown there", path.name, size / 1e6)
            return
        self._submit(
            lambda run: wandb_service.log_html(run, key, path, step=step, tokens=tokens), [key]
        )

    def alert(self, title: str, text: str, level: Level = "warn") -> None:
        """Send an alert: W&B mails or posts it; of the same title at most one a minute."""
        self._submit(lambda run: run.alert(title[:TITLE], text, level=level.upper()))

    def log_data(self, fingerprint: str, manifest: Mapping[str, Any]) -> None:
        """Make the data's manifest an artifact that the run uses, where artifacts are wanted."""
        if not self._keeps_artifacts():
            return
        copy, mode, folder = dict(manifest), self._mode, self._folder
        self._submit(
            lambda run: wandb_artifacts.use_data(run, fingerprint, copy, mode=mode, folder=folder)
        )

    def log_checkpoint(
        self,
        path: Path,
        aliases: Sequence[str],
        facts: Mapping[str, Any],
        ledger: Mapping[str, Any],
    ) -> None:
        """Make a checkpoint a version of the run's model, where artifacts are wanted.

        It is uploaded up to ``upload_gb``; a larger one is referenced by its path.
        """
        if not self._keeps_artifacts():
            return
        try:
            size = wandb_artifacts.size_of(path)
        except OSError as error:
            self._failed(error)
            return
        upload = size <= self._settings.upload_gb * 1e9
        wait = self._settings.finish_timeout + (size / UPLOAD if upload else 0.0)
        self._uploads += wait if self._mode == "online" else 0.0
        online, folder = self._mode == "online", self._folder
        self._submit(
            lambda run: wandb_artifacts.log_checkpoint(
                run,
                path,
                aliases,
                facts,
                ledger,
                upload=upload,
                wait=wait if online else None,
                folder=folder,
            )
        )

    def _keeps_artifacts(self) -> bool:
        wanted, online = self._settings.artifacts, self.mode == "online"
        return online if wanted == "auto" else wanted == "always"

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set values of the run's summary (nested mappings of numbers and strings)."""
        copy = dict(values)
        self._submit(lambda run: run.summary.update(copy))

    def finalize(self, status: str) -> None:
        """Do nothing: Lightning calls it after ``fit``, the final evaluation is still to come."""

    def finish(self, status: Literal["success", "failed", "interrupted"]) -> None:
        """Close the run; call it in ``finally``. Waits at most ``finish_timeout``; never raises.

        Checkpoints that are being uploaded get ``finish_timeout`` each, and a second for 5 MB.
        A second call, or one without a run, does nothing. A new logger in the same process gets
        a new run.
        """
        run, worker, self._started = self._run, self._worker, True
        self._run = self._worker = None
        if run is None or worker is None:
            return
        exit_code, from_scratch = EXIT_CODES[status], self._from_scratch
        try:
            worker.call(
                lambda: wandb_service.close_run(
                    run, exit_code=exit_code, from_scratch=from_scratch
                ),
                timeout=self._uploads + self._settings.finish_timeout + FINISH_GRACE,
            )
        except Exception as error:  # see the class
            if isinstance(error, TimeoutError):
                _abandon_service()
            self._failed(error)
        finally:
            worker.stop()

    def _submit(self, job: Callable[[Any], object], keys: Iterable[str] = ()) -> None:
        """Hand a job to the worker; ``keys``: the metrics it logs."""
        self.start()
        run, worker = self._run, self._worker
        if run is None or worker is None:
            return

        def work() -> None:
            self._definitions.define(run, keys)
            job(run)

        if not worker.submit(work):
            self._failed(TimeoutError("it stopped answering; its latest values are dropped"))

    def _failed(self, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("W&B: %s. The run goes on; its own files are complete", _describe(error))


def _abandon_service() -> None:
    """End a W&B service that hangs, and what this process keeps of it."""
    wandb_service.kill_service()
    worker = Worker("wandb-teardown", lambda error: None)
    # what is being torn down is broken already: only that nothing of it is left for exit matters
    with contextlib.suppress(Exception):
        worker.call(wandb_service.forget_service, timeout=FINISH_GRACE)
    worker.stop()


def _describe(error: Exception) -> str:
    text = str(error).split("Consider increasing")[0].split("For further information")[0]
    return f"{type(error).__name__}: {' '.join(text.split())}".removesuffix(": ")
