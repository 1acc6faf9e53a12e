"""Export a run as a model that transformers loads, with its card; push it when asked.

marco export RUN [output=DIR] [key=value] …
marco export runs/last checkpoint=best output=my-model dtype=bfloat16
marco export runs/last output=my-model --push-to-hub me/my-model

RUN is a run, one of its checkpoints, or a folder of transformers such as `marco merge` writes. The
folder has sharded safetensors with identical logits, the tokenizer with its chat template, a
generation config, and a README.md: stages, mix and ledger, scores per language with intervals,
what was retained, and the commands that make it again. All keys are in conf/export.yaml.
"""

from __future__ import annotations

import argparse


def main(arguments: list[str]) -> int:
    """Check, write the folder, and push it where that was asked for."""
    parser = argparse.ArgumentParser(
        prog="marco export",
        usage="marco export RUN [key=value] ... [--push-to-hub OWNER/NAME]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload it; nothing is else")
    parser.add_argument("run", metavar="RUN", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_intermixed_args(arguments)

    from marco.config import Sources, bind_root, compose, container, quoted
    from marco.config.export import ExportSettings
    from marco.training.export.run import prepare

    overrides = [f"run={quoted(given.run)}", *given.overrides]
    if given.push_to_hub is not None:
        overrides.append(f"push_to_hub={given.push_to_hub}")
    cfg = container(compose(overrides, sources=Sources(name="export")))
    export = prepare(bind_root(cfg, ExportSettings))
    url = export.write()
    print(f"{export.output}: {len(export.files)} files of weights, and README.md: read it through.")
    if url is not None:
        print(f"Pushed: {url}")
    return 0
