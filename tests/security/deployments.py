"""Deployments on the secured Kafka: topics made by an administrator, everything else as one user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import factor_model
from tests.acceptance.workers import Deployment
from tests.security.secured import SecuredKafka


class Secured(Deployment):
    """A deployment whose topics an administrator makes, and whose settings are those of one user."""

    def __init__(self, folder: Path, kafka: SecuredKafka, user: dict[str, Any], **sections: Any) -> None:
        self.kafka = kafka
        (folder / "factor_model.py").write_text(factor_model())
        (folder / "models" / "factor").mkdir(parents=True)
        stream = {"base_path": "models/factor", "kind": "python", "options": {"class": "factor_model:Factor"}}
        tree = {"kafka": user, "servables": {"factor": stream}, "routes": {"factor": {}}, **sections}
        super().__init__(folder, user["bootstrap.servers"], tree)

    def attempt(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """As an administrator where topics are made."""
        if "--create" in arguments:
            admin = {
                "PENSTOCK_BOOTSTRAP": self.kafka.admin["bootstrap.servers"],
                "PENSTOCK_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT",
            }
            options["env"] = {**os.environ, **admin}
        return super().attempt(*arguments, **options)
