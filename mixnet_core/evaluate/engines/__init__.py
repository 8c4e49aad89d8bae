"""What evaluates: one file for each devices.engine; see `evaluate.engine`."""
