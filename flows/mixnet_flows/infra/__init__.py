"""What a Prefect server needs for the deployments, and all of it on one machine."""
