"""From checked settings to a module and its data: what `train.py` does before it fits."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from marco.config import RunSettings
from marco.data.batches import Cut, MicroBatch, MixedBatches
from marco.data.stores import Source
from marco.mixing import MixSchedule
from marco.mixing.raised import Raise, raised
from marco.models.build import parameter_count
from marco.models.kernels import Backend, install
from marco.models.recompute import recompute
from marco.tracking.flops import training_flops_per_token
from marco.training.context import RunContext
from marco.training.cores import cores_each
from marco.training.module import MarcoModule
from marco.training.relay import SIGNALS

if TYPE_CHECKING:
    from marco.data.documents import Corpus
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Text:
    """Everything that comes from the text alone.

    Attributes:
        sources: what is mixed.
        schedule: how large a part of the training tokens each is, at every moment.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    sources: list[Source]
    schedule: MixSchedule

    def fingerprint(self) -> str:
        """Return a SHA-256 of the documents and of what is known of the sources' contents."""
        # Not their tokens: another tokenizer is another error.
        sources = [(source.name, source.content, source.store.documents) for source in self.sources]
        return hashlib.sha256(f"{self.corpus.fingerprint()}{sources}".encode()).hexdigest()


def read_text(run: RunSettings, changes: Sequence[Raise] = ()) -> Text:
    """Load, tokenise and weigh the text, with what was changed of the mix on the way.

    Raises:
        DataError: text that cannot be used. ConfigError: a mix that does not fit it.
    """
    corpus = run.data.load()
    for note in corpus.notes:
        log.info("Data: %s", note)
    tokenizer = run.tokenizer.load(corpus)
    sources = run.data.open_sources(corpus, tokenizer)
    sizes = {source.name: len(source.store) for source in sources}
    log.info(
        "Text: %d sources, %s training tokens in %s documents; tokenizer %s, %d entries.",
        len(sources),
        f"{sum(sizes.values()):,}",
        f"{sum(source.store.documents for source in sources):,}",
        tokenizer.name,
        len(tokenizer),
    )
    length = run.batch.sequence_length
    schedule: MixSchedule = raised(run.mix.schedule(sizes, run.tokens, length), changes)
    for note in run.mix.notes(sizes, run.tokens, length):
        log.info("%s", note.replace("mix:", "Mix:", 1))
    return Text(corpus, tokenizer, sources, schedule)


def build_module(run: RunSettings, text: Text, context: RunContext) -> MarcoModule:
    """Build model, root module and LightningModule; the optimizer comes with the trainer."""
    network = run.model.build(len(text.tokenizer), run.seed)
    if run.adapter is not None:
        run.adapter.put_into(network, run.seed)
    run.optimizer.freeze_in(network)
    if run.trainer.precision == "bf16-master":
        for parameter in network.parameters():  # not the rotary angles, which need fp32
            parameter.data = parameter.data.to(torch.bfloat16)
    network.train()  # from_pretrained leaves it in evaluation mode
    recompute(network, run.trainer.gradient_checkpointing)
    backend: Backend = context.choices["kernels"]
    log.info("Model: %s, %s.", network.config.model_type, _parameters(network))
    log.info("%s", install(network, backend, run.kernels.autotune))
    root = run.objective.wrap(network, len(text.tokenizer), backend)
    return MarcoModule(
        root,
        sources=text.sources,
        optimizer=run.optimizer,
        schedule=run.schedule,
        cut=cut_of(run),
        length=run.batch.sequence_length,
        total_steps=run.steps(text.schedule.end),
        flops_per_token=flops_per_token(network, run.batch.sequence_length),
        context=context,
        stages=text.schedule.stages,
        objective=run.objective.loss(),
    )


def _parameters(network: PreTrainedModel) -> str:
    every, trained = parameter_count(network), parameter_count(network, trained=True)
    share = (
        "" if trained == every else f", of which {trained:,} are trained ({trained / every:.2%})"
    )
    return f"{every:,} parameters{share}"


def cut_of(run: RunSettings) -> Cut:
    """How this process takes part in every global batch; all devices are data-parallel."""
    return Cut(
        sequences=run.batch.sequences,
        micro_sequences=run.batch.micro(run.trainer.devices),
        rank=int(os.environ.get("RANK", "0")),
        world_size=run.trainer.devices,
    )


def build_loader(run: RunSettings, text: Text, module: MarcoModule) -> DataLoader[Any]:
    """Return the micro-batches from the module's data position to the end of the budget."""
    batches = MixedBatches(
        text.sources,
        partial(run.mix.order, text.schedule, run.batch.sequence_length, run.seed),
        length=run.batch.sequence_length,
        pack=run.batch.packing,
        cut=module.cut,
        seed=run.seed,
        steps=module.total_steps - module.step,
        token_bytes=text.tokenizer.token_bytes(),
        positions=module.positions,
        before=module.served_before,
    )
    return DataLoader[MicroBatch](
        batches,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=run.trainer.num_workers,
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(run.seed),  # leaves the global one alone
        multiprocessing_context="spawn" if run.trainer.num_workers else None,
        worker_init_fn=outlive_signals,
    )


def outlive_signals(worker: int) -> None:
    """Leave Ctrl-C and SIGTERM to the training process, which still needs its next batches."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def flops_per_token(network: PreTrainedModel, length: int) -> float:
    """Model FLOPs of one trained token (PaLM's convention)."""
    config = network.config
    embedding = 0 if config.tie_word_embeddings else network.get_input_embeddings().weight.numel()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return training_flops_per_token(
        matmul_parameters=parameter_count(network) - embedding,
        layers=config.num_hidden_layers,
        attention_width=config.num_attention_heads * head,
        sequence_length=length,
    )


def choose(run: RunSettings, before: dict[str, Any]) -> dict[str, Any]:
    """What is decided when a run begins, or was decided before: threads and kernel backend.

    `OMP_NUM_THREADS` counts where `trainer.threads` says nothing.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = run.trainer.threads or (int(given) if given.isdecimal() else cores_each(1))
    cuda = run.trainer.accelerator != "cpu" and torch.cuda.is_available()
    kernels = run.kernels.chosen("cuda" if cuda else "cpu")
    return {"threads": threads, "kernels": kernels, **before}
