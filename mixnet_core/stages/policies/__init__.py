"""Which checkpoint a run ends with: one file for each selection.policy; see `stages.policy`."""
