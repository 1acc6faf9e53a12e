"""Tokenizers: one trained here, Qwen's own, or any that exists."""

from marco.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

__all__ = ["END_OF_TEXT", "Tokenizer"]
