"""Runs the pipeline through the vendors while something goes wrong in each run, and looks at what is left.

    python -m tests.faults.campaign --runs 300 --write docs/faults.md

Each run is seeded: the same number gives the same fault at the same point. A run ends when the job is done, after the
user did what the errors told: resume it, decide about a purchase, mend the account. Then every promise is checked.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from limner import Studio
from limner.errors import LimnerError
from limner.records import Job
from limner.settings import Settings
from limner.types import JobState
from tests.faults.hasty_worker import User, hatch
from tests.faults.judging import Expected, broken_promises, is_well_said
from tests.faults.scenarios import ROUTES, Point, Route, Scenario, draw_scenarios, points_of
from tests.faults.world import Served, World, serving
from tests.operations.conftest import draw_photos

__all__ = ["Campaign", "Life", "Result", "campaign", "main"]

PICTURES = 2
RECIPE = {"steps": 12, "rank": 4, "alpha": 4.0, "resolution": 64, "warmup_steps": 0}
MOST_ROUNDS = 8
PATIENT_ROUNDS = 4
"""How often a user who is told to resume later does so, before deciding about what may have been bought."""
PATIENCE = 40.0
"""Seconds in which a job must end."""


@dataclass
class Result:
    """How a run went: ``failures`` are what the user was told on the way, ``problems`` the broken promises."""

    scenario: Scenario
    struck: int = 0
    deaths: int = 0
    rounds: int = 0
    seconds: float = 0.0
    failures: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Campaign:
    """Everything that is the same for all runs: the vendors' addresses, the user, and a home that all start from."""

    def __init__(self, folder: Path, served: Served, user: User) -> None:
        self.folder, self.served, self.user = folder, served, user
        self.photos = draw_photos(folder / "photos", 4)
        self.template = folder / "template"
        with Studio(settings=Settings(home=self.template, start_worker=False)) as studio:
            studio.subjects.add("zib", kind="character", trigger="zibbo")
        from limner.operations.home.dbos_engine import prepare
        from limner.operations.home.workspace import Workspace

        workspace = Workspace(Settings(home=self.template))
        prepare(workspace.database)
        workspace.close()

    def run(self, scenario: Scenario, *, keep: bool = False) -> Result:
        """One run in a home of its own."""
        home = self.folder / f"run-{scenario.number}"
        shutil.copytree(self.template, home)
        life = Life(self, home, scenario)
        began = time.monotonic()
        try:
            life.live()
        finally:
            life.end()
        life.result.seconds = time.monotonic() - began
        if not keep:
            shutil.rmtree(home)
        return life.result

    def points(self, route: Route) -> list[Point]:
        """The points of a route, found in a run that is left alone."""
        life = Life(self, self.folder / f"alone-{ROUTES.index(route)}", Scenario(-1, route))
        shutil.copytree(self.template, life.home)
        try:
            life.live()
        finally:
            life.end()
        if life.result.problems or life.result.failures:
            raise RuntimeError(f"{route.name} does not even work when left alone: {life.result}")
        return points_of(life.world.requests())


class Life:
    """One run from its first command to its end."""

    def __init__(self, campaign: Campaign, home: Path, scenario: Scenario, **about_world: Any) -> None:
        self.campaign, self.home, self.scenario = campaign, home, scenario
        self.result = Result(scenario)
        self.worker: ForkServerProcess | None = None
        self.environment = {
            **campaign.served.settings(),
            "LIMNER_HOME": str(home),
            "LIMNER_START_WORKER": "false",
            "OMP_NUM_THREADS": "1",
        }
        self.world: World = campaign.served.new_world(scenario.faults, scenario.kills, self.victim, **about_world)
        for state in scenario.states:
            state.set(self.world)

    def victim(self) -> int | None:
        """The worker that a request comes from."""
        return self.worker.pid if self.worker is not None else None

    def end(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.join()

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        return self.campaign.user.call(self.environment, name, *arguments, **options)

    def live(self) -> None:
        """Submit, follow, and do what a user does, until the job is done or the user gives up."""
        expected = Expected((), PICTURES)
        try:
            job = self._submitted()
            while job is not None and self.result.rounds < MOST_ROUNDS:
                job = self._followed(job)
                if job.state is JobState.DONE:
                    self.job, self.expected = job, Expected(self._photos(), PICTURES, expected.again)
                    expected = self.expected
                    self.result.problems += broken_promises(self.home, self.world, job, expected)
                    break
                self._told(job.error or {})
                job = self._resumed(job, expected)
            else:
                self.result.problems.append("the job was never done")
        except TimeoutError as failure:
            self.result.problems.append(str(failure))
        self.result.struck = self.world.struck()

    def _photos(self) -> tuple[str, ...]:
        """The digests of the photos, by what the run that is left alone took in."""
        known = self.campaign.folder / "photos.txt"
        if not known.exists():
            with Studio(settings=Settings(home=self.home, start_worker=False)) as studio:
                known.write_text("\n".join(sorted(photo.digest for photo in studio.photos.all("zib"))))
        return tuple(known.read_text().split())

    def _submitted(self) -> Job | None:
        route = self.scenario.route
        options = {
            "train": {"trainer": route.trainer, "base": route.base, "settings": RECIPE},
            "publish": {"hub": "huggingface", "visibility": "public"},
            "generate": {"generator": route.generator, "count": PICTURES, "seed": 7, "width": 64, "height": 64},
        }
        for _ in range(3):
            try:
                return self.call("run", "zib", [str(self.campaign.photos)], ["{trigger} at sea"], yes=True, **options)
            except LimnerError as refusal:
                self._told(refusal.as_problem() | {"message": refusal.message})
                self._mend()
        return None

    def _followed(self, job: Job) -> Job:
        """Wait for the end of a job; start a worker wherever there is none. Stuck jobs are cancelled."""
        began = time.monotonic()
        patience = [state.patience for state in self.scenario.states if state.patience and not self.result.rounds]
        with Studio(settings=Settings(home=self.home, start_worker=False)) as studio:
            while True:
                if self.worker is None or not self.worker.is_alive():
                    self.result.deaths += self.worker is not None
                    self.worker = hatch(self.environment)
                current = studio.jobs.get(job.id)
                if current.state.ended:
                    return current
                waited = time.monotonic() - began
                if waited > PATIENCE:
                    raise TimeoutError(f"the job hangs with {current.stages} at {current.progress}")
                if patience and waited > patience[0]:
                    patience.clear()
                    self.call("cancel", job.id)
                time.sleep(0.02)

    def _told(self, error: Mapping[str, Any]) -> None:
        """The user reads an error."""
        self.result.failures.append(error)
        self.result.problems += is_well_said(error)

    def _mend(self) -> None:
        """What the user does at the vendors: at the latest now every disturbance is over."""
        self.world.calm()
        for state in self.scenario.states:
            state.heal(self.world)

    def _resumed(self, job: Job, expected: Expected) -> Job | None:
        """Do as the error says: decide about purchases, and resume."""
        self.result.rounds += 1
        if self.result.rounds >= 2 or any(state.patience for state in self.scenario.states):
            self._mend()
        remedy = (job.error or {}).get("remedy", "")
        if "Resume later" in remedy and self.result.rounds < PATIENT_ROUNDS:
            time.sleep(0.3)
        else:
            for tag in re.findall(r"limner costs decide ([a-z]\S*)", remedy):
                bought = self.call("payments.decide", tag, "again")
                expected.again["training" if "train" in bought.what else "picture"] += 1
        try:
            resumed: Job = self.call("resume", job.id, yes=True)
        except LimnerError as refusal:
            self._told(refusal.as_problem() | {"message": refusal.message})
            self._mend()
            return job if self.result.rounds < MOST_ROUNDS else None
        return resumed


@contextmanager
def campaign() -> Iterator[Campaign]:
    """All that a campaign needs, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch, serving(Path(scratch)) as served:
        user = User()
        try:
            yield Campaign(Path(scratch), served, user)
        finally:
            user.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the number of the first run")
    parser.add_argument("--only", default="", help="only runs with this fault, route or point in their description")
    parser.add_argument("--write", type=Path, help="where to write the table of faults survived")
    arguments = parser.parse_args()
    results: list[Result] = []
    with campaign() as running:
        points = {route: running.points(route) for route in ROUTES}
        for scenario in draw_scenarios(points, arguments.first + arguments.runs)[arguments.first :]:
            if arguments.only and arguments.only not in f"{scenario.route.name} {scenario.kinds} {scenario.places}":
                continue
            results.append(running.run(scenario))
            print(_line(results[-1]), flush=True)
    bad = [result for result in results if result.problems]
    print(
        f"{len(results)} runs, {sum(result.struck > 0 or bool(result.scenario.states) for result in results)} struck, "
        f"{sum(result.deaths for result in results)} workers killed, {len(bad)} broke a promise"
    )
    if arguments.write:
        from tests.faults.table import page_with

        before = arguments.write.read_text(encoding="utf-8") if arguments.write.exists() else ""
        arguments.write.write_text(page_with(before, results), encoding="utf-8")
    sys.exit(1 if bad else 0)


def _line(result: Result) -> str:
    scenario = result.scenario
    words = f"{' + '.join(scenario.kinds)} at {'; '.join(scenario.places)}"
    head = f"{scenario.number:4} {result.seconds:5.1f} s  {scenario.route.name}: {words}"
    tail = f" (struck {result.struck}, deaths {result.deaths}, resumed {result.rounds})"
    told = "".join(f"\n       told: {error.get('message')} → {error.get('remedy')}" for error in result.failures)
    broken = "".join(f"\n       BROKEN: {problem}" for problem in result.problems)
    return head + tail + (told + broken if broken else "")


if __name__ == "__main__":
    main()
