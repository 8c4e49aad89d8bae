"""`python infra/setup.py` in a checkout; the package has it as `mixnet_flows.infra.setup`."""

from __future__ import annotations

from mixnet_flows.infra.setup import main

if __name__ == "__main__":
    raise SystemExit(main())
