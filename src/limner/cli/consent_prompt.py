"""Questions on the command line: before something is spent or erased, and which base a lora is for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

from limner.cli.output import console, hanging, show, table
from limner.errors import BaseUnclear, ConsentNeeded, InputRefused
from limner.humanize import spoken

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import WhatIf
    from limner.types import Estimate

__all__ = ["agree", "price", "show_what_if", "with_base", "with_consent"]

Made = TypeVar("Made")


def with_consent(start: Callable[[bool], Made], *, yes: bool, as_json: bool) -> Made:
    """Start something that may cost; where it costs more than goes without asking, ask, if somebody is there."""
    try:
        return start(yes)
    except ConsentNeeded as question:
        if as_json or not sys.stdin.isatty():
            raise
        console(stderr=True).print(question.message)
    typer.confirm("Go on?", abort=True)
    return start(True)


def agree(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask before something is erased; where nobody can be asked, ``yes`` must have been given."""
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter("nothing was deleted, because nobody can be asked. Give --yes.")
    typer.confirm(question, abort=True)


def with_base(start: Callable[[str], Made], base: str, *, as_json: bool) -> Made:
    """Start something with a lora; where it fits several bases and none was named, ask which, if somebody is there."""
    try:
        return start(base)
    except BaseUnclear as question:
        if as_json or base or not question.candidates or not sys.stdin.isatty():
            raise
        console(stderr=True).print(question.message, soft_wrap=True)
        candidates = question.candidates

    def one_of_them(words: str) -> str:
        if words.strip() in candidates:
            return words.strip()
        raise typer.BadParameter(f"'{words[:40]}' is none of {', '.join(candidates)}.")

    return start(typer.prompt(f"Which base ({', '.join(candidates)})", value_proc=one_of_them, err=True))


def price(estimate: Estimate) -> str:
    """``about $2.40 and 25 min``, or that nothing is paid."""
    if not estimate.amount:
        money = "nothing is paid" if estimate.certain else "of unknown price"
    else:
        money = f"about ${estimate.amount:.2f}" + ("" if estimate.certain else ", a guess")
    return f"{money}; {spoken(estimate.seconds)}" if estimate.seconds else money


def show_what_if(found: WhatIf, as_json: bool) -> NoReturn:
    """Print the plans and end the command; the exit code is 2 if something stands in the way."""
    show(found, as_json, lambda out: _render(out, found))
    raise typer.Exit(0 if found.possible else InputRefused.exit_code)


def _render(out: Console, found: WhatIf) -> None:
    for plan in found.plans:
        table(out, (f"{plan.back_end}: {plan.model}", ""), [("cost", price(plan.estimate))], "")
        for call in plan.calls:
            times = f"{call.times} × " if call.times > 1 else ""
            paid = "  (paid)" if call.costs else ""
            out.print(f"  {times}{call.method} {call.url}{paid}", soft_wrap=True)
            if call.body:
                out.print(f"    {json.dumps(call.body, ensure_ascii=False, default=str)}", soft_wrap=True)
        for finding in plan.findings:
            hanging(out, f"  {finding.severity.value}: ", f"{finding.message} {finding.remedy}", indent=4)
        out.print()
    out.print(f"In all: {price(found.estimate)}. Nothing was sent that costs.")
