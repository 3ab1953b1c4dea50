"""Readers of raw corpora: one module a corpus, from its raw tree to the rows of an index."""
