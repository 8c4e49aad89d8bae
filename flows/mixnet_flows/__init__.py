"""Prefect flows around `mixnet_core`: retries, parameters and the dashboard, no work of their own.

Importing this package does not import Prefect, so that `mixnet_flows.demo` can choose its settings
first, and `mixnet deployments` read its prefect.yaml.
"""
