"""PyAirbyte with the same manifest, into its DuckDB cache."""

import os
import sys

os.environ |= {"DO_NOT_TRACK": "1", "AIRBYTE_NO_UV": "1", "AIRBYTE_OFFLINE_MODE": "1"}

import airbyte
from airbyte_manifest import manifest

url, name, folder = sys.argv[1:]
source = airbyte.get_source("source-bench", config={}, source_manifest=manifest(url, name), streams=[name])
source.read(cache=airbyte.caches.DuckDBCache(db_path=f"{folder}/out.duckdb", schema_name="main_"))
