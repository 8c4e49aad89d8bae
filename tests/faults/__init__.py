"""Training that is killed again and again, and must end as if it had not been: `make faults`."""
