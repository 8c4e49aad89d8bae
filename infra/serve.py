"""`python -m infra.serve` in a checkout; the package has it as `mixnet_flows.infra.serve`."""

from __future__ import annotations

from mixnet_flows.infra.serve import main

if __name__ == "__main__":
    raise SystemExit(main())
