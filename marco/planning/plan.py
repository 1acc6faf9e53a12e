"""The plan of a run: what it will train on, how often, what it needs and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from marco.config import RunSettings
from marco.kernels.chips import CHIPS
from marco.planning.cautions import warnings_of
from marco.planning.cost import time_of
from marco.planning.groups import groups_of
from marco.planning.memory import memory_report
from marco.planning.network import network_of
from marco.planning.options import CPU, MFU, MFU_SOURCE, PlanOptions
from marco.planning.order import Served, served
from marco.planning.sources import Sources, read_sources
from marco.planning.stages import stages_of


def plan_of(run: RunSettings, options: PlanOptions) -> dict[str, Any]:
    """Return the plan as plain values, fit for JSON (docs/plan.md explains each).

    Raises:
        MarcoError: text that cannot be used, a mix that does not fit it, a shape that cannot be.
    """
    if options.devices is not None:
        run.batch.micro(options.devices)
    sources = read_sources(run)
    network = network_of(run, sources.vocabulary)
    schedule = run.mix.schedule(sources.sizes, run.tokens, run.batch.sequence_length)
    steps = run.steps(schedule.end)
    tokens = steps * run.batch.tokens
    order = served(run, schedule, steps * run.batch.sequences, sources.opened)
    languages = languages_of(sources, order)
    stages = stages_of(run, schedule, steps, order.total)
    flops = network.flops_per_token * tokens
    memory = memory_report(run, options, network, len(languages))
    return {
        "name": run.name,
        "stages": stages,
        "groups": groups_of(languages),
        "languages": languages,
        "parameters": network.parameters,
        "flops": flops,
        "flops_per_token": network.flops_per_token,
        "memory": memory,
        "time": time_of(run, options, flops, tokens),
        "warnings": warnings_of(run, options, stages, languages, memory),
        "notes": run.mix.notes(sources.sizes, run.tokens, run.batch.sequence_length),
        "assumptions": assumptions(run, options, order, sources, memory),
    }


def languages_of(sources: Sources, order: Served) -> dict[str, dict[str, Any]]:
    """Per source: what is served of it, and what the tokenizer and the packing make of it."""
    found = {}
    for fact in sources.facts:
        tokens, padding = order.tokens[fact.name], order.padding[fact.name]
        epochs = tokens / fact.tokens
        found[fact.name] = {
            "tokens": tokens,
            "share": tokens / order.total,
            "size": fact.tokens,
            "epochs": epochs,
            "repeats": max(0, math.ceil(epochs) - 1),
            "fill": tokens / (tokens + padding) if tokens else 1.0,
            **{key: value for key, value in asdict(fact).items() if key not in ("name", "tokens")},
        }
    return found


def assumptions(
    run: RunSettings,
    options: PlanOptions,
    order: Served,
    sources: Sources,
    memory: Mapping[str, Any],
) -> list[str]:
    """Everything that was taken for granted, a sentence each."""
    found = []
    if options.device != CPU:
        chip = CHIPS[options.device]
        why = MFU_SOURCE if options.mfu == MFU else "given"
        found.append(
            f"MFU {options.mfu:.0%} of the dense peak ({why}); loading, evaluation, checkpoints "
            "and failures take no time"
        )
        found.append(f"{chip.name}: peak and memory as in the {chip.source.split(';')[0]}")
    flash = ", attention as a flash kernel keeps it"
    kept = "" if memory["backend"] in ("torch", "native") else flash
    found.append(
        "FLOPs: 6 N + 12 L H Q T a token (PaLM, arXiv 2204.02311, appendix B): the attention's "
        "whole square, and nothing for what checkpointing computes again"
    )
    found.append(
        "memory: storages alive in the model's own step on fake tensors, each row one document, "
        f"kernels={memory['backend']}{kept}; not in it are the CUDA context (about 0.5 GB), "
        "communication buffers, and fragmentation"
    )
    if memory["process"] is not None:
        found.append(
            "process: beside the step, what was measured of runs on UDHR (docs/plan.md); without "
            "Python and its packages (0.6 to 0.7 GB) and loader workers"
        )
    if not order.exact:
        near = "right to one sequence" if run.mix.sampling == "quota" else "chance left out"
        padded = "; padding as in a sample" if run.batch.packing == "best_fit" else ""
        found.append(f"tokens per language: what the mix owes them, {near}{padded}")
    if all(fact.documents is None for fact in sources.facts):
        found.append("no text: sizes are as stated, fertility and cut documents are not known")
    else:
        found.append(
            "fertility: tokens for each of English's, on documents that say the same; null where "
            "there are none (then tokens a character say how finely text is cut)"
        )
    return found
