"""Engines that compute logits: one file for each devices.engine; see `evaluate.engine`."""
