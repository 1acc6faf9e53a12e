"""What a CPU run's process holds above its packages: a step's memory, and what stands around it.

All but the step hardly depends on the model. Each figure was measured phase by phase on a process
that had imported every package already (docs/plan.md); the heap keeps what a phase has freed, so
that they add up. `python -m bench.plan_memory` measures two whole runs against the sum.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from transformers import PreTrainedConfig

from marco.config import RunSettings
from marco.tracking.local_settings import LocalOnly
from marco.training.allocator import PRIMITIVES

#: Times the largest tensor, in fp32. Found on SmolLM2-135M alone, after 8 steps, where they had
#: stopped growing.
GAPS = 2
#: The Hydra tree, Lightning's trainer, the writers of files; code of torch that a run pages in.
FRAMEWORK = 45_000_000
#: Documents, their token ids, and a tokenizer with what it took to make or read it.
TEXT = 40_000_000
#: A compiled product of oneDNN: 0.76 MB are in use, the rest are the gaps that it leaves.
PRIMITIVE = 1_300_000
#: Products of training, held-out text and word translation, whose rows have few widths.
FEW_PRIMITIVES = 48
#: Task sets: lm-eval's index and what it prepares (70), requests and answers (30).
TASKS = 100_000_000
#: The language identifier's table, which task sets and samples look at.
IDENTIFIER = 70_000_000
#: What samples at the end take to be written.
SAMPLES = 30_000_000
#: Heat map and tables that a logger gets after each evaluation, for each language in them.
FIGURES = 1_500_000


@dataclass(frozen=True)
class Process:
    """Bytes at the peak above the packages, by what takes them; `total` is the sum.

    Attributes:
        step: weights, gradients, optimizer and activations. A forward of an evaluation takes its
            activations from what the steps use.
        gaps: of a heap that keeps its pages (`trainer.keep_pages`), between the step's tensors.
        framework, text: always there.
        products: oneDNN's compiled products, one for every shape of its operands.
        tasks, identifier, samples, figures: of evaluations, where there are any; figures are drawn
            for a logger.
    """

    step: int
    gaps: int
    framework: int
    text: int
    products: int
    tasks: int
    identifier: int
    samples: int
    figures: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())


def process_of(run: RunSettings, config: PreTrainedConfig, step: int, languages: int) -> Process:
    """Put what stands around it on top of a step's bytes; `languages` are those of the data."""
    largest = config.hidden_size * max(config.vocab_size, config.intermediate_size)
    evaluation = run.evaluation if run.evaluation is not None and run.evaluation.enabled else None
    tasks = evaluation is not None and bool(evaluation.tasks)
    samples = evaluation is not None and run.callbacks.get("samples") is not None
    shown = run.logger is not None and not isinstance(run.logger, LocalOnly)
    return Process(
        step=step,
        gaps=GAPS * 4 * largest if run.trainer.keep_pages else 0,
        framework=FRAMEWORK,
        text=TEXT,
        products=PRIMITIVE * (PRIMITIVES if tasks else FEW_PRIMITIVES),
        tasks=TASKS if tasks else 0,
        identifier=IDENTIFIER if tasks or samples else 0,
        samples=SAMPLES if samples else 0,
        figures=FIGURES * languages if evaluation is not None and shown else 0,
    )
