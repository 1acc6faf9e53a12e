from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl

from callbacks.eval_sweep import EvalSweep
from callbacks.retention import Retention
from marco.errors import ConfigError
from marco.evaluation.history import Evaluation
from marco.evaluation.rows import Row
from marco.mixing.raised import Raise
from marco.training.context import MixChanged
from marco.training.module import MarcoModule


def evaluation(
    tokens: int, eng: float, cmn: float = 2.0, metric: str = "bits_per_byte"
) -> Evaluation:
    task = "likelihood" if metric == "bits_per_byte" else "belebele"
    values = {"eng": eng, "cmn": cmn, "swh": 1.0}
    rows = [
        Row(language=code, group="high", task=task, metric=metric, value=value, n=1)
        for code, value in values.items()
    ]
    return Evaluation(tokens // 100, tokens, tuple(rows))


class Alerts:
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.said: list[str] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append(metrics)

    def alert(self, title: str, text: str, level: str = "warn") -> None:
        self.said.append(text)


def run(*history: Evaluation) -> tuple[Any, Any, Alerts]:
    """A trainer and a module, as far as the callback looks at them."""
    sweep = EvalSweep()
    sweep.history = list(history)
    module = MarcoModule.__new__(MarcoModule)
    pl.LightningModule.__init__(module)
    module.source_languages = {"eng": "eng", "swh": "swh", "news": "eng"}
    module.lr_scale, module.step, module.total_steps = 1.0, 3, 10
    module.cut, module.length = SimpleNamespace(sequences=1), 100
    module.context = SimpleNamespace(mix_changes=[])
    module.at_boundary = True
    alerts = Alerts()
    trainer = SimpleNamespace(callbacks=[sweep], loggers=[alerts], should_stop=False)
    return trainer, module, alerts


def test_within_the_budget_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    trainer, module, alerts = run(evaluation(0, 2.0), evaluation(300, 2.019, cmn=1.0))
    guard = Retention(action="stop")
    guard.on_train_batch_end(trainer, module)
    assert not trainer.should_stop
    assert not alerts.said
    assert alerts.metrics == [
        {"tokens": 300, "retention/eng": pytest.approx(0.0095), "retention/cmn": -0.5}
    ]
    guard.on_train_batch_end(trainer, module)  # the same evaluation is not judged again
    assert len(alerts.metrics) == 1


def test_a_breach_is_said_everywhere_and_stops(caplog: pytest.LogCaptureFixture) -> None:
    trainer, module, alerts = run(evaluation(0, 2.0), evaluation(300, 2.1))
    with caplog.at_level(logging.WARNING):
        Retention(action="stop").on_train_batch_end(trainer, module)
    assert trainer.should_stop
    expected = (
        "After 300 tokens bits_per_byte is worse than at step 0: English by 5.00 % (budget 1 %)."
    )
    assert alerts.said == [expected]
    assert expected in caplog.text


def test_of_an_accuracy_less_is_worse() -> None:
    first = evaluation(0, 0.5, 0.5, "acc")
    trainer, module, _ = run(first, evaluation(300, 0.4, 0.6, "acc"))
    guard = Retention(metric="belebele")
    guard.on_train_batch_end(trainer, module)
    assert guard.breaches == [{"tokens": 300, "regression": {"eng": pytest.approx(0.2)}}]


def test_the_learning_rate_is_lowered_at_each_breach_and_after_a_resume() -> None:
    trainer, module, _ = run(evaluation(0, 2.0), evaluation(300, 2.1))
    guard = Retention(action="lower_lr", lr_factor=0.5)
    guard.on_train_batch_end(trainer, module)
    assert module.lr_scale == 0.5
    trainer.callbacks[0].history.append(evaluation(400, 2.2))
    guard.on_train_batch_end(trainer, module)
    assert module.lr_scale == 0.25
    resumed = Retention(action="lower_lr", lr_factor=0.5)
    resumed.load_state_dict(guard.state_dict())
    module.lr_scale = 1.0
    resumed.on_train_start(trainer, module)
    assert module.lr_scale == 0.25
    assert len(resumed.breaches) == 2


def test_an_evaluation_that_the_checkpoint_had_not_judged_is_judged_on_resume() -> None:
    trainer, module, _ = run(evaluation(0, 2.0), evaluation(300, 2.1))
    guard = Retention(action="lower_lr")
    guard.on_train_start(trainer, module)
    assert module.lr_scale == 0.5


def test_replay_goes_to_all_sources_of_the_language_and_has_an_end() -> None:
    trainer, module, _ = run(evaluation(0, 2.0), evaluation(300, 2.1))
    guard = Retention(anchors=["eng"], action="replay", replay_share=0.3, most_replay=0.4)
    with pytest.raises(MixChanged):
        guard.on_train_batch_end(trainer, module)
    assert module.context.mix_changes == [Raise(300, ("eng", "news"), 0.3)]
    trainer.callbacks[0].history.append(evaluation(400, 2.2))
    with pytest.raises(MixChanged):
        guard.on_train_batch_end(trainer, module)
    assert module.context.mix_changes[-1].share == pytest.approx(0.1)
    trainer.callbacks[0].history.append(evaluation(500, 2.2))
    guard.on_train_batch_end(trainer, module)
    assert len(module.context.mix_changes) == 2


def test_what_cannot_work_is_said_before_training() -> None:
    trainer, module, _ = run(evaluation(300, 2.1))
    with pytest.raises(ConfigError, match=r"evaluation\.at_start=true"):
        Retention().on_train_start(trainer, module)
    trainer, module, _ = run(evaluation(0, 2.1))
    with pytest.raises(ConfigError, match="belebele was measured of none of the anchors eng"):
        Retention(anchors=["eng"], metric="belebele").on_train_start(trainer, module)
    with pytest.raises(ConfigError, match="needs training text of cmn"):
        Retention(action="replay").on_train_start(trainer, module)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": []}, "anchors is empty"),
        ({"anchors": ["english language"]}, "english"),
        ({"budget": -0.1}, "negative"),
        ({"replay_share": 1.5}, "replay_share"),
        ({"lr_factor": 1.0}, "lr_factor"),
    ],
)
def test_settings_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Retention(**options)
