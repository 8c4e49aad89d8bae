"""The network: `build_model`, and the tables it is built from."""
