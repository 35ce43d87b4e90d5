"""What the endpoint needs is imported only where it is wanted, and what is missing is named."""

import subprocess
import sys

RUN = [sys.executable, "-c"]

IMPORTS = """
import sys
import gateway.daemon, gateway.region.service
print(sorted({"aiohttp", "prometheus_client"} & set(sys.modules)))
"""

MISSING = """
import sys
sys.modules["prometheus_client"] = None
from gateway.config import schema
from gateway.errors import ConfigError
from gateway.health import opening
opening.check(schema.Health())
try:
    opening.check(schema.Health(listen="127.0.0.1:0"))
except ConfigError as error:
    print(error)
"""


def test_neither_package_is_imported_by_a_daemon_or_a_receiver_without_an_endpoint() -> None:
    found = subprocess.run([*RUN, IMPORTS], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_a_missing_package_is_one_clear_sentence_and_only_where_it_is_needed() -> None:
    found = subprocess.run([*RUN, MISSING], check=True, capture_output=True, text=True)
    assert found.stdout.startswith("health.listen needs a package that is not installed: prometheus_client")
    assert "pip install 'edge-gateway[health]'" in found.stdout
