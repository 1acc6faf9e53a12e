"""Say which tokenizer wrote a folder of token shards.

A run refuses shards that another tokenizer wrote. datatrove does not note which one it was, so say
it once for each folder of its shards: `marco stamp path=shards/swh tokenizer=qwen2`, or
`tokenizer=pretrained tokenizer.path=<folder or hub name>`. The path may be a glob of folders.
The shards are checked, and marco.json is written beside them.
"""

from __future__ import annotations

import argparse

from marco.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Check the shards, and write the stamp."""
    parser = argparse.ArgumentParser(
        prog="marco stamp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("override", nargs="+", help="path=…, tokenizer=…, tokenizer.path=…")
    overrides = parser.parse_args(arguments).override
    paths = [text.removeprefix("path=") for text in overrides if text.startswith("path=")]
    chosen = [text for text in overrides if text.startswith(("tokenizer=", "tokenizer."))]
    if len(paths) != 1 or not chosen or len(chosen) + 1 != len(overrides):
        raise ConfigError("marco stamp takes path=<folder> and tokenizer=…, and nothing else.")
    count = stamp_folders(paths[0], chosen)
    print(f"{paths[0]}: {count} shards stamped.")
    return 0


def stamp_folders(path: str, overrides: list[str]) -> int:
    """Stamp with the tokenizer that `overrides` choose; return how many shards there are."""
    from marco.config import bind, compose
    from marco.data import Corpus
    from marco.data.fingerprint import stamp
    from marco.tokenizers.embedded import EmbeddedTokenizer

    settings = bind(compose(overrides, complete=False).tokenizer, "tokenizer")
    if isinstance(settings, EmbeddedTokenizer):
        raise ConfigError(
            "tokenizer=embedded is trained anew for each corpus: name the one of a run, "
            "tokenizer=pretrained tokenizer.path=<run folder>/tokenizer."
        )
    settings.check()
    return stamp(path, settings.load(Corpus({}, {})))
