"""Readers of raw corpora: one module per corpus, which turns its raw tree into the rows of an index."""
