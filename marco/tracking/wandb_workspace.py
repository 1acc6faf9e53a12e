"""A saved view of a W&B project: the panels of what a run of marco logs, in a useful order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

X = "tokens"
SPEED = ("tokens_per_second", "mfu", "peak_memory_bytes", "gradient_norm", "learning_rate")


def metrics_by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return {``eval/<name>``: its metrics}, in the order in which names first occur."""
    found: dict[str, list[str]] = {}
    for key in keys:
        parts = key.split("/")
        if parts[0] == "eval" and len(parts) > 2:
            found.setdefault("/".join(parts[:2]), []).append(key)
    return found


def build_workspace(entity: str, project: str, name: str, keys: Iterable[str]) -> Any:
    """Return a view that can be saved.

    Args:
        entity: user or team.
        project: the W&B project.
        name: the view's.
        keys: what evaluations log (``eval/<name>/macro``, ``…/group/<group>``, ``…/<language>``).

    Raises:
        ImportError: ``wandb-workspaces`` is not installed.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def lines(title: str, metrics: list[str]) -> Any:
        return wr.LinePlot(title=title, x=X, y=metrics)

    names = metrics_by_name(keys)
    overview = [lines("training loss", ["train/loss"])]
    sections = []
    for prefix, metrics in names.items():
        title = prefix.removeprefix("eval/")
        macro = [key for key in metrics if key == f"{prefix}/macro"]
        groups = [key for key in metrics if key.startswith(f"{prefix}/group/")]
        languages = [key for key in metrics if key not in (*macro, *groups)]
        overview += [lines(f"{title}, mean of languages", macro)] if macro else []
        panels = [
            lines(f"{title}, {what}", found)
            for what, found in (("groups", groups), ("languages", languages))
            if found
        ]
        sections.append(ws.Section(name=title, panels=panels))
    pictures = wr.MediaBrowser(title="heat map", media_keys=["eval/heatmap"])
    report = wr.MediaBrowser(title="report", media_keys=["report"])
    training = [
        wr.LinePlot(title=f"{title} of languages", x=X, metric_regex=f"{prefix}/.*")
        for title, prefix in (("loss", "train/loss"), ("epochs", "data/epochs"))
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name="Overview", panels=[*overview, pictures, report], is_open=True),
            *sections,
            ws.Section(name="Training by language", panels=training),
            ws.Section(name="Speed", panels=[lines(key, [f"train/{key}"]) for key in SPEED]),
        ],
        settings=ws.WorkspaceSettings(x_axis=X),
    )
