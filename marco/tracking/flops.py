"""Model FLOPs of training on one token."""

from __future__ import annotations


def training_flops_per_token(
    *, matmul_parameters: int, layers: int, attention_width: int, sequence_length: int
) -> float:
    """Return ``6 N + 12 L H Q T``, forward and backward together.

    ``N`` (``matmul_parameters``): parameters that take part in a matrix product: all but the input
    embedding; the output head counts, tied or not. Each costs 2 FLOPs a token in the forward and 4
    in the backward pass. ``12 L H Q T``: the attention's two products over ``layers`` L,
    ``attention_width`` H·Q (heads × head dimension) and ``sequence_length`` T.

    Source: PaLM (arXiv:2204.02311), appendix B; the 6 N as in Chinchilla (arXiv:2203.15556),
    appendix F. By PaLM's convention the attention term counts the full T × T square: causal
    masking and the boundaries of packed documents are not subtracted, recomputation is not added.
    """
    attention = 12 * layers * attention_width * sequence_length
    return float(6 * matmul_parameters + attention)
