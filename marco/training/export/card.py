"""The model card: what the model is, what it was trained on, how well it does, how to make it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from marco.data.stores import SEVERAL
from marco.errors import ConfigError
from marco.evaluation.history import before
from marco.evaluation.numbers import short
from marco.evaluation.results.aggregates import Aggregate
from marco.evaluation.rows import Row
from marco.languages import get
from marco.models.settings import looks_local
from marco.training.export.lineage import Lineage, Served, Stage
from marco.training.export.scores import NOTHING, named, retention_table, score_tables, table

#: Where runs and logs are is the reader's own choice.
_NOT_SHOWN = ("paths.", "logger", "hydra.", "resume")


@dataclass(frozen=True)
class Card:
    """Everything a model card says.

    Attributes:
        title: the model's name.
        parameters: distinct ones, tied ones once.
        lineage: None of a model that is no run.
        merged: what `marco merge` wrote down, of a merged model.
        rows: scores of the exported weights; none where they were not measured.
        aggregates: over the rows.
        anchors: languages of which it says what was retained.
        command: that exports it.
        version: marco's.
    """

    title: str
    architecture: str
    parameters: int
    lineage: Lineage | None
    merged: dict[str, Any] | None
    rows: Sequence[Row]
    aggregates: Sequence[Aggregate]
    anchors: Sequence[str]
    command: str
    version: str

    def text(self) -> str:
        """Return the card, Markdown with the hub's YAML head."""
        parts = [self._head(), f"# {self.title}", self._opening(), _USE]
        if self.lineage is not None:
            parts += [_stages(self.lineage), _ledger(self.lineage.stages)]
        if self.merged is not None:
            parts.append(_merge(self.merged))
        parts += [self._scores(), self._retention(), self._reproduce(), _LICENCE]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _stages(self) -> Sequence[Stage]:
        return () if self.lineage is None else self.lineage.stages

    def _languages(self) -> list[str]:
        names = [name for stage in self._stages() for name in stage.served]
        return list(dict.fromkeys(name for name in names if _is_language(name)))

    def _head(self) -> str:
        head: dict[str, Any] = {
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["marco", "multilingual"],
        }
        if self._languages():
            head["language"] = [get(code).iso639_1 or code for code in self._languages()]
        origin = None if self.lineage is None else self.lineage.origin
        if origin is not None and not looks_local(origin):
            head["base_model"] = origin
        text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
        return f"---\n# license: say which one, see the end of this page\n{text}---"

    def _opening(self) -> str:
        what = f"A {self.architecture} of {self.parameters:,} parameters"
        tokens = sum(stage.tokens for stage in self._stages())
        if not tokens:
            return f"{what}."
        languages = len(self._languages())
        assert self.lineage is not None
        origin = self.lineage.origin
        start = "from scratch" if origin is None else f"on from {_origin(origin)}"
        return f"{what}, trained {start} on {tokens:,} tokens of {languages} languages."

    def _scores(self) -> str:
        if not self.rows:
            return "## Scores\n\nThese weights were not measured."
        intro = "95 % intervals in brackets; ↓ lower is better, ↑ higher is better."
        return "\n\n".join(["## Scores", intro, *score_tables(self.rows, self.aggregates)])

    def _retention(self) -> str:
        title = "## Retention"
        if not self._stages() or not self.rows:
            return ""
        stage = next((each for each in self._stages() if each.source is not None), None)
        if stage is None:
            return f"{title}\n\nTrained from scratch: there was nothing to retain."
        assert stage.source is not None
        which, start = ", ".join(map(named, self.anchors)), _origin(stage.source)
        first = before(stage.history)
        found = "" if first is None else retention_table(first.rows, self.rows, self.anchors)
        if not found:
            return f"{title}\n\nNot measured both before training and now: {which}."
        return f"{title}\n\nBefore is {start}, which training started from.\n\n{found}"

    def _reproduce(self) -> str:
        places = {str(stage.place): f"STAGE_{n}" for n, stage in enumerate(self._stages(), 1)}
        lines = []
        for number, stage in enumerate(self._stages(), 1):
            shown = [each for each in stage.overrides if not each.startswith(_NOT_SHOWN)]
            words = [shlex.quote(_placed(each, places)) for each in shown]
            lines += [f"# stage {number}", " ".join(["python train.py", *words])]
        block = "\n".join([*lines, self.command])
        said = " STAGE_1 stands for the folder of the first run, and so on." if places else ""
        return f"## Reproducing it\n\nWith marco {self.version}.{said}\n\n```bash\n{block}\n```"


_USE = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = AutoModelForCausalLM.from_pretrained("PATH")
```"""

_LICENCE = """## Licence

Not stated yet. What the weights this started from and the data allow decides; then add `license:`
to the head of this file."""


def _is_language(name: str) -> bool:
    try:
        return name != SEVERAL and get(name).code == name
    except ConfigError:
        return False


def _origin(origin: str) -> str:
    return Path(origin).name if looks_local(origin) else origin


def _placed(override: str, places: dict[str, str]) -> str:
    """An override with the folders of the runs as STAGE_1, …; longer paths first."""
    for place in sorted(places, key=len, reverse=True):
        override = override.replace(place, places[place])
    return re.sub(r"='(STAGE_[^']*)'", r"=\1", override)


def _stages(lineage: Lineage) -> str:
    start = "random weights" if lineage.origin is None else _origin(lineage.origin)
    lines = [["Stage", "Run", "Tokens", "Steps", "Peak learning rate", "Schedule", "Batch, tokens"]]
    mixes = []
    for number, stage in enumerate(lineage.stages, 1):
        config = stage.config
        batch = config["batch"]["sequence_length"] * config["batch"]["sequences"]
        lines.append(
            [
                str(number),
                stage.name,
                f"{stage.tokens:,}",
                f"{stage.step:,}",
                f"{config['optimizer']['lr']:g}",
                _class(config["schedule"]),
                f"{batch:,}",
            ]
        )
        shown = yaml.safe_dump(_shown(config["mix"]), sort_keys=False, allow_unicode=True)
        mixes.append(f"Mix of stage {number}:\n\n```yaml\n{shown}```")
    body = "\n\n".join(mixes)
    return f"## Stages\n\nThe first started from {start}.\n\n{table(lines)}\n\n{body}"


def _class(node: dict[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _shown(node: Any) -> Any:
    """A node with its class under the name `rule`."""
    if isinstance(node, dict):
        rest = {key: _shown(value) for key, value in node.items() if key != "_target_"}
        return {"rule": _class(node), **rest} if "_target_" in node else rest
    return [_shown(each) for each in node] if isinstance(node, list) else node


def _ledger(stages: Sequence[Stage]) -> str:
    """Tokens, share and epochs of every language, the epochs by stage: the texts may differ."""
    names = dict.fromkeys(name for stage in stages for name in stage.served)
    total = sum(each.tokens for stage in stages for each in stage.served.values())
    epochs = [
        f"Epochs, stage {n}" if len(stages) > 1 else "Epochs" for n in range(1, len(stages) + 1)
    ]
    lines = [["Language", "Tokens", "Share", *epochs]]
    for name in names:
        found = [stage.served.get(name, Served(0, 0.0)) for stage in stages]
        tokens = sum(each.tokens for each in found)
        title = named(name) if _is_language(name) else name
        seen = [NOTHING if each.epochs is None else f"{each.epochs:.2f}" for each in found]
        lines.append([title, f"{tokens:,}", f"{tokens / total:.1%}", *seen])
    return f"## Data\n\n{short(total)} tokens were served in all.\n\n{table(lines)}"


def _merge(merged: dict[str, Any]) -> str:
    lines = [["Input", "Checkpoint", "Tokens"]]
    for each in merged["inputs"]:
        tokens = NOTHING if each["tokens"] is None else f"{each['tokens']:,}"
        lines.append([_origin(each["path"]), each["checkpoint"] or NOTHING, tokens])
    keys = ("weights", "density", "normalize", "scale", "rescale", "seed")
    said = ", ".join(f"{key}={merged[key]}" for key in keys if merged[key] is not None)
    return f"## Merge\n\nMerged by {merged['method']} ({said}).\n\n{table(lines)}"
