"""Scores of predictions, tables and pictures of them, and comparisons."""
