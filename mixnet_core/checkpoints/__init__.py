"""Checkpoints on disk: complete bundles, and strict loading of weights files."""
