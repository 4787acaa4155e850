"""Grids: pictures of one wish that differ along two axes, submitted at one price, looked at and voted on."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy import Text, and_, cast, delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner.errors import InputRefused, LimnerError, NotFound
from limner.money.sums import total
from limner.operations import ids
from limner.operations.generations import queries as generation_queries
from limner.operations.generations import submission as generations
from limner.operations.generations.request import GenerateRequest
from limner.operations.grids import voting
from limner.operations.grids.axes import GridRequest, as_axis, cells_of
from limner.operations.home.facet import Facet
from limner.operations.jobs.actions import Jobs
from limner.operations.payments import ledger, preflight
from limner.operations.trainings.actions import Trainings
from limner.records import Generation, Grid, GridAxis, GridCell, GridPlan, Pair, Ranking, Vote, WhatIf
from limner.store.models import GenerationRow, ImageRow, JobRow
from limner.store.web_models import GridRow, VoteRow
from limner.types import UNDER_WAY, Estimate, Finding, Severity

if TYPE_CHECKING:
    from limner.operations.home.workspace import Workspace
    from limner.options import GenerateOptions

__all__ = ["Grids"]

Axis = tuple[str, Sequence[Any]]
Requests = list[list[list[GenerateRequest]]]
"""By row, column and prompt."""
READ_AT_ONCE = 100
"""Grids whose pictures are looked up by one query: a database takes some 30,000 names."""


class Grids(Facet):
    """``studio.grids``: pictures side by side over two axes, and votes between them.

    An axis is its name and its values, such as ``("scale", [0.6, 0.8, 1])``: scale, steps, seed, guidance, checkpoint
    (steps of ``training``), lora or prompt. Scale, checkpoint and lora are those of the first lora.
    """

    def plan(
        self,
        prompt: str | Sequence[str],
        *,
        x: Axis | GridAxis,
        y: Axis | GridAxis | None = None,
        training: str = "",
        **options: Unpack[GenerateOptions],
    ) -> GridPlan:
        """How many pictures a grid would have and what all of it would cost. Nothing is sent that costs.

        InputRefused, NotFound: it cannot be at all. What stands in the way of single cells is among the findings.
        """
        requests = self._requests(self._plan(prompt, x, y, training, dict(options)))
        flat = [request for row in requests for cell in row for request in cell]
        asked = preflight.what_if(generations.plans(self._workspace, flat[0]))
        ready, found = [], []
        for request in flat:
            try:
                ready.append(generations.prepare(self._workspace, request, again=False))
            except LimnerError as refusal:
                found.append(Finding("cell", Severity.REFUSAL, refusal.message, refusal.remedy))
        told = {(one.message, one.remedy): one for one in found}
        first, *rest = asked.plans
        had = {one.message for one in first.findings}
        more = tuple(one for one in told.values() if one.message not in had)
        plans = (type(first)(first.back_end, first.model, first.calls, first.estimate, (*first.findings, *more)), *rest)
        cost = total(one.estimate for one in ready) if ready else asked.estimate
        return GridPlan(len(flat), sum(request.count for request in flat), WhatIf(plans, cost))

    def price(
        self,
        prompt: str | Sequence[str],
        *,
        x: Axis | GridAxis,
        y: Axis | GridAxis | None = None,
        training: str = "",
        **options: Unpack[GenerateOptions],
    ) -> tuple[int, Estimate]:
        """How many pictures a grid would have and what all of it would cost, without asking anybody over the network.

        InputRefused, NotFound, NotReady: a cell cannot be drawn.
        """
        requests = self._requests(self._plan(prompt, x, y, training, dict(options)))
        ready = [
            generations.prepare(self._workspace, one, again=False) for row in requests for cell in row for one in cell
        ]
        return sum(one.request.count for one in ready), total(one.estimate for one in ready)

    def start(
        self,
        prompt: str | Sequence[str],
        *,
        x: Axis | GridAxis,
        y: Axis | GridAxis | None = None,
        training: str = "",
        yes: bool = False,
        wish: str = "",
        **options: Unpack[GenerateOptions],
    ) -> Grid:
        """Draw a grid: one generation a cell and prompt, all of them or none submitted, asked about as one sum.

        The same ``wish`` gives the grid that it made before. ConsentNeeded, SpendingRefused: all cells together cost
        too much. InputRefused, NotFound: one of them cannot be drawn.
        """
        workspace = self._workspace
        name = _id(workspace.owner, wish)
        if wish and (known := self._known(name)) is not None:
            return known
        plan = self._plan(prompt, x, y, training, dict(options))
        requests = self._requests(plan)
        ready = {
            request.generation: generations.prepare(workspace, request, again=False)
            for row in requests
            for cell in row
            for request in cell
        }
        subject = next((slug for one in ready.values() for slug in one.subjects), "")
        ledger.allow(workspace, total(one.estimate for one in ready.values()), subject=subject, yes=yes, what="grid")
        submitter = workspace.submitter
        try:
            with workspace.database.write() as session:
                session.add(_row(name, plan, requests))
                session.flush()
                for one in ready.values():
                    generations.enqueue(workspace, session, submitter, one)
        except IntegrityError:
            # the same wish, sent twice at the same moment
            if (known := self._known(name)) is not None:
                return known
            raise
        workspace.ensure_worker()
        return self.grid(name)

    def grid(self, grid: str) -> Grid:
        """One grid, with the pictures that are there by now. NotFound."""
        with self._workspace.database.read() as session:
            [found] = _to_grids(self._workspace, session, [_find(session, grid)])
            return found

    def list(
        self,
        training: str = "",
        *,
        generation: str = "",
        limit: int = 50,
        before: tuple[datetime, str] | None = None,
    ) -> tuple[Grid, ...]:
        """The grids, newest first: all, those of a training, or those that a generation is a cell of.

        ``before``: only those older than the grid with this ``created_at`` and ``id``.
        """
        query = select(GridRow).order_by(GridRow.created_at.desc(), GridRow.id.desc()).limit(limit)
        if training:
            query = query.where(GridRow.training == Trainings(self._workspace).get(training).id)
        if generation:
            query = query.where(cast(GridRow.cells, Text).contains(f'"{generation}"', autoescape=True))
        if before is not None:
            at, name = before
            query = query.where(or_(GridRow.created_at < at, and_(GridRow.created_at == at, GridRow.id < name)))
        with self._workspace.database.read() as session:
            return tuple(_to_grids(self._workspace, session, session.scalars(query).all()))

    def jobs(self, grid: str) -> tuple[str, ...]:
        """The ids of its jobs that have not ended."""
        targets = [made.id for made in self.grid(grid).generations]
        query = select(JobRow.id).where(JobRow.target.in_(targets), JobRow.state.in_(UNDER_WAY))
        with self._workspace.database.read() as session:
            return tuple(session.scalars(query.order_by(JobRow.created_at)))

    def cancel(self, grid: str) -> Grid:
        """Ask all its jobs to stop; pictures that are there stay."""
        for job in self.jobs(grid):
            Jobs(self._workspace).cancel(job)
        return self.grid(grid)

    def delete(self, grid: str) -> None:
        """Forget a grid and its votes. Its pictures stay in the gallery."""
        with self._workspace.database.write() as session:
            row = _find(session, grid)
            session.execute(delete(VoteRow).where(VoteRow.grid == row.id))
            session.delete(row)

    # --- votes --------------------------------------------------------------------------------------------------

    def next_pair(self, grid: str, *, skipped: Collection[tuple[int, int]] = ()) -> Pair | None:
        """The two pictures to vote on next, the most telling ones first; None if there are none left."""
        found = self.grid(grid)
        passed = {frozenset(pair) for pair in skipped}
        return voting.next_pair(found, self._votes(found.id), passed)

    def vote(self, grid: str, winner: int, loser: int, *, after: int | None = None) -> Vote:
        """Say which of two pictures (their numbers) is better.

        ``after`` is how many votes there were when the pair was shown: the same vote sent twice then counts once.
        NotFound: a picture is not of this grid. InputRefused: both are the same.
        """
        found = self.grid(grid)
        images = {image.id: image for image in found.images}
        for number in (winner, loser):
            if number not in images:
                raise NotFound(
                    f"The image {number} is not in this grid.", remedy="Load the page again.", thing=str(number)
                )
        if winner == loser:
            raise InputRefused("A picture cannot be better than itself.", remedy="Name two.", thing=str(winner))
        with self._workspace.database.write() as session:
            rows = select(VoteRow).where(VoteRow.grid == found.id).order_by(VoteRow.id.desc())
            last = session.scalars(rows.limit(1)).first()
            count = session.scalar(select(func.count()).select_from(VoteRow).where(VoteRow.grid == found.id)) or 0
            again = last is not None and after is not None and count > after
            if last is None or not again or {last.winner, last.loser} != {winner, loser}:
                last = VoteRow(grid=found.id, winner=winner, loser=loser)
                session.add(last)
                session.flush()
            return _to_vote(found, last)

    def undo_vote(self, grid: str) -> Vote | None:
        """Take the newest vote back and give it; None if there is none."""
        found = self.grid(grid)
        with self._workspace.database.write() as session:
            query = select(VoteRow).where(VoteRow.grid == found.id).order_by(VoteRow.id.desc()).limit(1)
            last = session.scalars(query).first()
            if last is None:
                return None
            session.delete(last)
            return _to_vote(found, last)

    def votes(self, grid: str) -> tuple[Vote, ...]:
        """All votes, newest first."""
        found = self.grid(grid)
        with self._workspace.database.read() as session:
            rows = session.scalars(select(VoteRow).where(VoteRow.grid == found.id).order_by(VoteRow.id.desc()))
            return tuple(_to_vote(found, row) for row in rows)

    def ranking(self, grid: str) -> tuple[Ranking, ...]:
        """What the votes say: of the combinations where both axes are compared, then of each axis by itself."""
        found = self.grid(grid)
        return tuple(voting.rankings(found, self._votes(found.id)))

    def labels(self, grid: str) -> dict[int, str]:
        """What each picture is, by its number: ``step 200, scale 0.8``."""
        return voting.labels_of(self.grid(grid))

    # --- files --------------------------------------------------------------------------------------------------

    def sheet(self, grid: str, destination: str | Path) -> Path:
        """Draw the whole grid with its labels into one PNG."""
        from limner.operations.grids import export as grid_export

        return grid_export.sheet(self._sound(self.grid(grid)), Path(destination))

    def archive(self, grid: str, destination: str | Path) -> Path:
        """Write a zip of its pictures, each named by its cell, with their metadata in them, and the votes."""
        from limner.operations.grids import export as grid_export

        found = self._sound(self.grid(grid))
        return grid_export.archive(found, self.ranking(found.id), Path(destination))

    # --- within -------------------------------------------------------------------------------------------------

    def _sound(self, grid: Grid) -> Grid:
        """The grid, whose pictures were read and found undamaged."""
        for made in grid.generations:
            for image in made.images:
                self._workspace.blobs.path(image.digest)
        return grid

    def _plan(
        self,
        prompt: str | Sequence[str],
        x: Axis | GridAxis,
        y: Axis | GridAxis | None,
        training: str,
        options: Mapping[str, Any],
    ) -> GridRequest:
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        of = Trainings(self._workspace).get(training).id if training else ""
        plan = GridRequest(tuple(dict.fromkeys(prompts)), as_axis(x), as_axis(y), of, options)
        return plan.with_seed(secrets.randbelow(generations.SEEDS))

    def _requests(self, plan: GridRequest) -> Requests:
        return [
            [[generations.make_request(self._workspace, **options, again=False) for options in cell] for cell in row]
            for row in cells_of(plan)
        ]

    def _known(self, name: str) -> Grid | None:
        with self._workspace.database.read() as session:
            row = session.get(GridRow, name)
            return next(iter(_to_grids(self._workspace, session, [row] if row is not None else [])), None)

    def _votes(self, grid: str) -> Sequence[tuple[int, int]]:
        with self._workspace.database.read() as session:
            query = select(VoteRow.winner, VoteRow.loser).where(VoteRow.grid == grid).order_by(VoteRow.id)
            return [(winner, loser) for winner, loser in session.execute(query)]


def _id(owner: str | None, wish: str) -> str:
    if not wish:
        return f"grid_{secrets.token_hex(8)}"
    if not 8 <= len(wish) <= 100:
        raise InputRefused("The form's id cannot be used.", remedy="Load the page again, then send it.", thing="wish")
    return "grid_" + hashlib.sha256(f"{owner or ''} {wish}".encode()).hexdigest()[:16]


def _row(name: str, plan: GridRequest, requests: Requests) -> GridRow:
    first = requests[0][0][0]
    names = ("base", "generator", "width", "height", "steps", "guidance", "seed", "count", "loras", "model")
    prompts = [request.prompt for request in requests[0][0]]
    return GridRow(
        id=name,
        training=plan.training or None,
        prompt=prompts[0],
        request={**{key: getattr(first, key) for key in names}, "prompts": prompts},
        x={"axis": plan.x.name, "values": [*plan.x.values]},
        y={"axis": plan.y.name, "values": [*plan.y.values]},
        cells=[[[request.generation for request in cell] for cell in row] for row in requests],
    )


def _find(session: Session, grid: str) -> GridRow:
    row: GridRow | None = ids.by_id(session, "grid", GridRow, grid)
    if row is None:
        raise NotFound(f"There is no grid '{grid[:80]}'.", remedy="List them: limner grids list", thing=grid[:80])
    return row


def _to_grids(workspace: Workspace, session: Session, rows: Sequence[GridRow]) -> list[Grid]:
    found: list[Grid] = []
    for start in range(0, len(rows), READ_AT_ONCE):
        some = rows[start : start + READ_AT_ONCE]
        names = [name for row in some for line in row.cells for cell in line for name in cell]
        made = _generations(workspace, session, names)
        voted = select(VoteRow.grid, func.count().label("votes")).where(VoteRow.grid.in_([row.id for row in some]))
        votes = {one.grid: one.votes for one in session.execute(voted.group_by(VoteRow.grid))}
        found += [_to_grid(row, made, votes.get(row.id, 0)) for row in some]
    return found


def _to_grid(row: GridRow, made: dict[str, Generation], votes: int) -> Grid:
    x, y = (GridAxis(axis["axis"], tuple(axis["values"])) for axis in (row.x, row.y))
    cells = tuple(
        tuple(GridCell(at, up, tuple(made.get(name) for name in cell)) for at, cell in zip(x.values, line, strict=True))
        for up, line in zip(y.values, row.cells, strict=True)
    )
    prompts = tuple(row.request.get("prompts") or [row.prompt])
    return Grid(row.id, row.training or "", prompts, row.request, x, y, cells, votes, row.created_at)


def _generations(workspace: Workspace, session: Session, names: Sequence[str]) -> dict[str, Generation]:
    rows = session.scalars(select(GenerationRow).where(GenerationRow.id.in_(names))).all()
    images: dict[str, list[ImageRow]] = {}
    for image in session.scalars(
        select(ImageRow).where(ImageRow.generation.in_(names)).order_by(ImageRow.generation, ImageRow.position)
    ):
        images.setdefault(image.generation, []).append(image)
    return {row.id: generation_queries.to_generation(workspace, session, row, images.get(row.id, [])) for row in rows}


def _to_vote(grid: Grid, row: VoteRow) -> Vote:
    images, labels = {image.id: image for image in grid.images}, voting.labels_of(grid)
    return Vote(images[row.winner], images[row.loser], labels[row.winner], labels[row.loser], row.created_at)
