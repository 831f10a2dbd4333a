"""A source run for one collection: the steps that the plan names, one after the other. I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .chain import Chain
from .errors import Incomplete
from .hub import CollectionState, Damage, Hub, HubState
from .hub.fold import unmended
from .outcome import PullBook, Watcher
from .plan import Run, Step, next_step
from .spec import Purpose, Route, Spec, scope
from .stage import Stage

if TYPE_CHECKING:
    from .fetch import Fetcher


class Puller:
    """Pulls the collections of one source. `stored` is told of each segment that is durable."""

    def __init__(self, spec: Spec, hub: Hub, fetcher: Fetcher, stage: Stage, watcher: Watcher, stored: Callable[[str], None]) -> None:
        self.spec, self.hub, self.fetcher, self.stage, self.watcher, self.stored = spec, hub, fetcher, stage, watcher, stored
        self.run = Run(0, 0)
        self.steps: dict[str, Step | None] = {}
        """The first step of each collection: what the plan says."""
        self.states: dict[str, CollectionState] = {}
        self.damage: dict[str, dict[str, Damage]] = {}

    def routes(self, name: str) -> dict[Purpose, Route]:
        purposes: tuple[Purpose, ...] = ("full", "changed")
        routes = {purpose: self.spec.route(name, purpose, self.fetcher.settings.values) for purpose in purposes}
        return {purpose: replace(route, stored=self.fetcher.settings.masked(route.request)) for purpose, route in routes.items()}

    def begin(self, run: Run, names: Sequence[str], state: HubState) -> dict[str, Step | None]:
        """What a run will begin with, for each collection that can be folded."""
        self.run = run
        self.states, self.damage = {name: state.of(name) for name in self.spec.lists}, state.damage
        self.steps = {name: self._next(name, self.states[name], self.routes(name), []) for name in names}
        return self.steps

    def _next(self, name: str, state: CollectionState, routes: Mapping[Purpose, Route], begun: Sequence[Step]) -> Step | None:
        prints = {purpose: route.fingerprint for purpose, route in routes.items()}
        return next_step(name, self.spec.lists[name], state, prints, self.run, begun, scope(routes), self.damage.get(name, ()))

    def pull(self, name: str, book: PullBook) -> None:
        """Everything that is due for a collection. Raises RunError; the book holds what was received all the same."""
        routes, begun, parent = self.routes(name), list[Step](), self.spec.lists[name].parent
        for listed in self.spec.lists_of([parent.collection]) if parent else ():
            if lost := unmended(self.states[listed], self.damage.get(listed, {})):
                raise Incomplete(f"{name}: segment {listed}/{lost[0]}, of its parents, is damaged; run again when they are complete")
        while step := self._next(name, self.states[name], routes, begun):
            if begun:
                self.watcher.goes_on(name, step.reason)
            begun.append(step)
            chain = Chain(
                self.spec,
                step,
                routes[step.purpose],
                scope(routes),
                self.states[name],
                self.states.get(parent.collection) if parent else None,
                hub=self.hub,
                fetcher=self.fetcher,
                stage=self.stage,
                watcher=self.watcher,
                stored=self.stored,
                book=book,
            )
            try:
                chain.walk()
            finally:
                self.states[name] = chain.state
