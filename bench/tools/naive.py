"""What many write first: lists of dictionaries, pandas, the table replaced as a whole."""

import sys

import duckdb
import pandas
import requests

url, name, folder = sys.argv[1:]
rows, path = [], f"/{name}"
while path:
    page = requests.get(url + path).json()  # noqa: S113  # as one writes it
    rows += page["_embedded"]["entries"]
    path = (page["_links"]["next"] or {}).get("href")
frame = pandas.json_normalize(rows)
duckdb.connect(f"{folder}/out.duckdb").execute(f"CREATE OR REPLACE TABLE {name} AS FROM frame")
