"""What holds for every test: nothing is written to the home of whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from google.cloud import bigquery

from tests import snow
from tests.big import StandIn
from tests.buckets import ENVIRONMENT, Buckets
from tests.buckets import serving as serving_buckets
from tests.farm import Farm
from tests.postgres import Server, programs, serving
from tests.shop import Client, Cloud, Database, File, Lake, Project, is_tried
from tests.supported import Table


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table(), "supported")


hypothesis.settings.register_profile("timeless", deadline=None)
hypothesis.settings.load_profile("timeless")
"""A busy machine is no failure: no example has to come to its end in time."""


@pytest.fixture(autouse=True, scope="session")
def no_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for the state of what several tests share; processes that get no variable of ours take it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what runs share, one for each test."""
    folder = tmp_path_factory.mktemp("state")
    for name in ("SYNCER_STATE", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for all tests of a process; where the machine has none, they are left out."""
    place = programs()
    if place is None:
        pytest.skip("needs PostgreSQL's programs (initdb, pg_ctl)")
    with serving(place) as server:
        yield server


@pytest.fixture(scope="session")
def snowflake() -> Iterator[snow.Account]:
    """A Snowflake account for all tests of a process, and what a user's environment says of it."""
    if not snow.PROGRAM.exists():
        pytest.skip("needs fakesnow (make .venv/fakesnow/.ready)")
    with snow.serving() as account, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNOWFLAKE_PASSWORD", "hush")
        yield account


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What stands in for a BigQuery project, wherever a client of one is made."""
    behind = StandIn.new()
    monkeypatch.setattr(bigquery, "Client", lambda project: behind.another())
    return behind


@pytest.fixture(scope="session")
def s3() -> Iterator[Buckets]:
    """An S3 server for all tests of a process."""
    with serving_buckets() as server:
        yield server


@pytest.fixture
def buckets(s3: Buckets, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """That server, and what a user's environment says of it."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(name, value)
    s3.asked.clear()
    return s3


@pytest.fixture(params=["folder", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a hub may lie, of each kind; there is nothing yet."""
    if request.param == "folder":
        return str(tmp_path / "hub")
    server: Buckets = request.getfixturevalue("buckets")
    return f"{server.bucket()}/hubs"


@pytest.fixture(params=["duckdb", "postgresql", "delta", "snowflake", "bigquery"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """A warehouse of each kind, empty."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if not is_tried(request.param, marks, request.node.path.stem):
        pytest.skip("takes its time: `make tests-whole`, or a test that shows it, goes through this")
    if request.param == "duckdb":
        return File(tmp_path / "shop.duckdb")
    if request.param == "delta":
        return Lake(tmp_path / "lake")
    if request.param == "bigquery":
        behind: StandIn = request.getfixturevalue("project")
        return Project(behind)
    if request.param == "snowflake":
        account: snow.Account = request.getfixturevalue("snowflake")
        return Cloud(account.database())
    server: Server = request.getfixturevalue("postgres")
    return Database(server.database())


@pytest.fixture
def farm(client: Client, tmp_path: Path) -> Farm:
    return Farm(tmp_path, client)
