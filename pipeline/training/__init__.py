"""Trainings: their data, their store, and several seeds in parallel."""
