"""Learning rates after the warm-up: one file for each schedule.name; see `train.schedule`."""
