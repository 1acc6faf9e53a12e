"""The Optuna study in a sweep's folder, as the sweeper and its runs open it."""

from __future__ import annotations

from pathlib import Path

FILE = "study.db"
NAME = "sweep"


def storage(sweep: Path) -> str:
    """Return the address of the sweep's study (SQLite)."""
    return f"sqlite:///{(sweep / FILE).absolute()}"


def prune(sweep_run: Path, tokens: int, value: float, after_trials: int, after_tokens: int) -> bool:
    """Tell the study what a trial has after so many tokens; return whether to give it up.

    The trial is the one of the run's folder. The median rule (Golovin et al. 2017, Vizier): its
    best value so far is worse than the median of the finished and pruned trials at that point.
    """
    import optuna

    study = optuna.load_study(
        study_name=NAME,
        storage=storage(sweep_run.parent),
        pruner=optuna.pruners.MedianPruner(after_trials, after_tokens),
    )
    number = int(sweep_run.name)
    known = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    trial = optuna.trial.Trial(study, known._trial_id)
    trial.report(value, step=tokens)
    return bool(trial.should_prune())
