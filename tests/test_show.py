"""What people are told while a run goes on."""

from __future__ import annotations

import pytest

from rest_syncer.engine.show import Lines


def test_waits_that_matter_and_notes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.waiting(37.2, "status 503, the API asks for it")
    lines.waiting(0.02, "others of this account came before")
    lines.waiting(0.0, "the budgets are not shared")
    told = [line.partition("s  ")[2] for line in capsys.readouterr().err.splitlines()]
    assert told == ["waits 37 s: status 503, the API asks for it", "the budgets are not shared"]
