"""dlt's own REST source into DuckDB: as it comes, or (`tuned`) by the best of its documented settings that was found.

Tuned: nested values stay JSON in one table, files are Parquet, normalising has two processes, buffers are large.
"""

import os
import sys

url, name, folder, way = sys.argv[1:]
if way == "tuned":
    os.environ |= {
        "NORMALIZE__WORKERS": "2", "NORMALIZE__START_METHOD": "spawn", "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
        "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "50000", "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "50000",
    }  # fmt: skip
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt  # noqa: E402  # it reads the environment when it is imported
from dlt.sources.rest_api import rest_api_source  # noqa: E402

if __name__ == "__main__":
    endpoint = {
        "path": name,
        "data_selector": "_embedded.entries",
        "params": {"since": {"type": "incremental", "cursor_path": "updated_at", "initial_value": ""}},
    }
    source = rest_api_source(
        {
            "client": {"base_url": url, "paginator": {"type": "json_link", "next_url_path": "_links.next.href"}},
            "resources": [{"name": name, "primary_key": "id", "write_disposition": "merge", "endpoint": endpoint}],
        }
    )
    if way == "tuned":
        source.max_table_nesting = 0
    pipeline = dlt.pipeline("bench", f"{folder}/state", destination=dlt.destinations.duckdb(f"{folder}/out.duckdb"), dataset_name="bench")
    pipeline.run(source, **({"loader_file_format": "parquet"} if way == "tuned" else {}))
