"""Text: documents, the sources they come from, and the order in which training sees them."""
