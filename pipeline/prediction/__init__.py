"""Prediction for recordings and transcripts, and its output files and pages."""
