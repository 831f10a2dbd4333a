"""Schedules as other schedulers read them: a crontab's lines, and systemd's units. Pure.

crontab(5) knows no lengths of time, so only those that divide a day or an hour can be written; systemd.timer(5) knows both.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from . import times
from .errors import UsageError
from .schedule import Half, When

_MINUTE = 60 * times.SECOND
_HOUR, _DAY, _WEEK = 60 * _MINUTE, 1440 * _MINUTE, 10080 * _MINUTE
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


class Job(Struct, frozen=True):
    """One half of a source, and the command that carries it out in a folder."""

    source: str
    half: Half
    when: When
    timezone: str
    folder: str
    command: tuple[str, ...]


def cron(jobs: Iterable[Job]) -> str:
    """The lines of a crontab. Raises UsageError for a length of time that cron has no form for."""
    lines = ["# Add these lines with `crontab -e`. Settings come from the environment, or from .env in the folder."]
    for job in jobs:
        if job.when.every is None:
            lines += [f"# {job.source}: a cron that does not know CRON_TZ reads the machine's own time.", f"CRON_TZ={job.timezone}"]
        command = f"cd {shlex.quote(job.folder)} && {shlex.join(job.command)}"
        lines.append(f"{_crontab(job)}  {command}".replace("%", r"\%"))
    return "\n".join(lines) + "\n"


def _crontab(job: Job) -> str:
    every = job.when.every
    if every is None:
        return job.when.text
    if every == _WEEK:
        return "0 0 * * 0"
    if every == _DAY:
        return "0 0 * * *"
    if every % _HOUR == 0 and _DAY % every == 0:
        return f"0 */{every // _HOUR} * * *" if every > _HOUR else "0 * * * *"
    if every % _MINUTE == 0 and _HOUR % every == 0:
        return f"*/{every // _MINUTE} * * * *"
    raise UsageError(
        f"{job.source}: cron has no form for {job.when.told} ({job.half}); choose a time that divides an hour or a day, like 30m or 6h, "
        "or times in cron's form, or --print systemd"
    )


def systemd(jobs: Sequence[Job]) -> str:
    """Two units for each half, a service and its timer, each under the name of its file."""
    timers = " ".join(f"{_unit(job)}.timer" for job in jobs)
    head = [
        "# Save each part under its name in ~/.config/systemd/user (or /etc/systemd/system, without --user). Then:",
        "#   systemctl --user daemon-reload",
        f"#   systemctl --user enable --now {timers}",
    ]
    return "\n".join([*head, *(line for job in jobs for line in _units(job))]) + "\n"


def _unit(job: Job) -> str:
    return f"syncer-{job.source}-{job.half}"


def _units(job: Job) -> list[str]:
    command = " ".join(map(_word, job.command))
    if job.when.every is None:
        timer = [*(f"OnCalendar={line} {job.timezone}" for line in _calendar(job.when)), "Persistent=true"]
    else:
        timer = ["OnActiveSec=1min", f"OnUnitActiveSec={job.when.text}"]
    return [
        "", f"# {_unit(job)}.service", "[Unit]", f"Description=syncer {job.half} {job.source}", "",
        "[Service]", "Type=oneshot", f"WorkingDirectory={job.folder.replace('%', '%%')}", f"ExecStart={command}",
        "", f"# {_unit(job)}.timer", "[Unit]", f"Description=When to {job.half} {job.source}", "",
        "[Timer]", *timer, "", "[Install]", "WantedBy=timers.target",
    ]  # fmt: skip


def _word(text: str) -> str:
    """A word of ExecStart: quoted where it must be, and with nothing that systemd would fill in."""
    plain = text.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", plain, re.ASCII):
        return plain
    escaped = re.sub(r'(["\\])', r"\\\1", plain)
    return f'"{escaped}"'


def _calendar(when: When) -> list[str]:
    """Times in cron's form as systemd.time(7) has them; two where a day or a weekday is enough, which systemd has no word for."""
    minutes, hours, days, months, weekdays, both = when.places
    clock = f"{_listed(hours, 24)}:{_listed(minutes, 60)}:00"
    dates = f"*-{_listed(months, 12)}-{_listed(days, 31)}"
    names = ",".join(_WEEKDAYS[day] for day in weekdays) + " " if len(weekdays) < 7 else ""
    if both:
        return [f"{names}{dates} {clock}"]
    return [f"{dates} {clock}", f"{names}*-{_listed(months, 12)}-* {clock}"]


def _listed(values: Sequence[int], all_of_them: int) -> str:
    return "*" if len(values) == all_of_them else ",".join(f"{value:02}" for value in values)


FORMS: dict[str, Callable[[Sequence[Job]], str]] = {"cron": cron, "systemd": systemd}
