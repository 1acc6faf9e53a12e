"""Text: documents, the sources they come from, and the order in which training sees them."""

from marco.data.documents import Corpus, Document

__all__ = ["Corpus", "Document"]
