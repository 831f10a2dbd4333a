"""What holds for every test: nothing is written to the home of whoever runs it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what runs share, one for each test; processes that a test starts take it from the environment."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("SYNCER_STATE", str(folder))
    return folder
