"""The part of the page about faults that is made from a campaign's results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.faults.states import STATES
from tests.faults.world import KILLS
from tests.servers.faults import KINDS

if TYPE_CHECKING:
    from tests.faults.campaign import Result

__all__ = ["HEADING", "page_with"]

HEADING = "## Through the services\n"
HEAD = """\
Made by `python -m tests.faults.campaign --runs {runs} --write docs/faults.md`; the short form is part of `make test`.

Each run takes photos through a trainer, the Hugging Face Hub and a generator, against stand-ins of the vendors on real
sockets, while something goes wrong. The worker is a process of its own and is killed with SIGKILL in many runs; the
stand-ins live on and count what they would have charged. After a failure the user does what the error says and nothing
else: resumes the job, decides about a purchase that nobody can tell about, gives a new token. Every run must end with:

- no training and no picture paid twice, unless the vendor failed, or keeps no list of what it did and the user agreed;
- no photo, lora or picture lost or damaged;
- one repo, one publication, one commit that brings the weights;
- the uploaded photos deleted at the vendor, or the user told that they are not;
- every failure said in one sentence with a remedy, without program text, HTML or a token;
- no token in any file of the home folder.

{runs} runs on {routes} routes: {struck} were struck, {deaths} workers were killed, {asked} times the user was asked
about a purchase, {broken} runs broke a promise.
"""


def page_with(text: str, results: Sequence[Result]) -> str:
    """The page in Markdown with these results at its end; what stands before their heading is kept."""
    return text.partition(HEADING)[0] + _part(results)


def _part(results: Sequence[Result]) -> str:
    asked = sum(error.get("code") == "undecided" for result in results for error in result.failures)
    parts = [
        f"{HEADING}\n",
        HEAD.format(
            runs=len(results),
            routes=len({result.scenario.route for result in results}),
            struck=sum(result.struck > 0 or bool(result.scenario.states) for result in results),
            deaths=sum(result.deaths for result in results),
            asked=asked,
            broken=sum(bool(result.problems) for result in results),
        ),
    ]
    parts.append("\n### By fault\n\n| fault | what happens | runs | struck | resumed by the user | broken promises |\n")
    parts.append("|---|---|--:|--:|--:|--:|\n")
    parts += _rows(results)
    parts.append("\n### By route\n\n| route | runs | workers killed | broken promises |\n|---|--:|--:|--:|\n")
    parts += _route_rows(results)
    parts.append("\n### What users were told\n\nEach sentence once, with how often it came; ids are left out.\n\n")
    parts += _sentences(results)
    return "".join(parts)


def _rows(results: Sequence[Result]) -> list[str]:
    runs: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        for kind in result.scenario.kinds:
            runs[kind].append(result)
    told = {**KINDS, **KILLS}
    for state in STATES:
        made = f"`{state.vendor}: {state.attribute}`"
        told[state.name] = f"{told[state.name]}, {made}" if state.name in told else f"{state.what}; {made}"
    rows = []
    for kind, what in told.items():
        if runs[kind]:
            ones = runs[kind]
            counts = (
                len(ones),
                sum(one.struck > 0 or bool(one.scenario.states) for one in ones),
                sum(one.rounds > 0 for one in ones),
                sum(bool(one.problems) for one in ones),
            )
            rows.append(f"| {kind} | {what} | " + " | ".join(map(str, counts)) + " |\n")
    return rows


def _route_rows(results: Sequence[Result]) -> list[str]:
    rows = []
    for route in dict.fromkeys(result.scenario.route for result in results):
        ones = [result for result in results if result.scenario.route == route]
        counts = (len(ones), sum(one.deaths for one in ones), sum(bool(one.problems) for one in ones))
        rows.append(f"| {route.name} | " + " | ".join(map(str, counts)) + " |\n")
    return rows


def _sentences(results: Sequence[Result]) -> list[str]:
    import re

    said: Counter[str] = Counter()
    for result in results:
        for error in result.failures:
            text = f"{error.get('message', '')} → {error.get('remedy', '')}"
            text = re.sub(r"http://127\.0\.0\.1:\d+", "https://…", text)
            text = re.sub(r"\b(job|training|generation)_[0-9a-f]+", r"\1_…", text)
            said[re.sub(r"\b[0-9a-z]{20,}\b|\b[0-9a-f]{8,}\b", "…", text)] += 1
    return [f"- {text.replace('|', '/')} ({times})\n" for text, times in said.most_common()]
