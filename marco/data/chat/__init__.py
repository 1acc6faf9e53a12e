"""Conversations as training data: read, rendered by a chat template, with the loss on answers."""

from marco.data.chat.messages import Message

__all__ = ["Message"]
