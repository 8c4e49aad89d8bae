from __future__ import annotations

from tests.infra.postgres import postgres  # noqa: F401
