"""The Airbyte CDK reads a declarative manifest's stream; what it prints goes nowhere."""

import json
import os
import sys
from pathlib import Path

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from airbyte_manifest import manifest

url, name, folder = sys.argv[1:]
config, catalog = Path(folder) / "config.json", Path(folder) / "catalog.json"
config.write_text("{}")
stream = {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
configured = {"stream": stream, "sync_mode": "incremental", "destination_sync_mode": "append_dedup", "primary_key": [["id"]]}
streams = {"streams": [configured | {"cursor_field": ["updated_at"]}]}
catalog.write_text(json.dumps(streams))
chosen = ConfiguredAirbyteCatalogSerializer.load(streams)
entry = AirbyteEntrypoint(ConcurrentDeclarativeSource(catalog=chosen, config={}, state=[], source_config=manifest(url, name)))
rows = 0
with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # as one writes it
    for message in entry.run(AirbyteEntrypoint.parse_args(["read", "--config", str(config), "--catalog", str(catalog)])):
        nowhere.write(message)
        rows += message.startswith('{"type":"RECORD"')
(Path(folder) / "rows").write_text(str(rows))
