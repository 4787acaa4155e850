"""limner webhooks: addresses that are told of what happens to jobs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from limner.cli.arguments import Json, Sure
from limner.cli.help_layout import Noun
from limner.cli.output import ago, console, hanging, show, studio, table

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, help="Addresses that are told of what happens to jobs.")

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, see `limner webhooks list`.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="webhooks")


@group.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="A public https address.")],
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="EVENT", help="job.waiting, job.running, job.done, job.failed, job.cancelled. Repeat it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell an address of what happens to jobs.

    It is told when a job is done, failed or cancelled, unless other events are named. The secret that its messages
    are signed with is printed.

    \b
    Examples:
      limner webhooks add https://example.org/limner
      limner webhooks add https://example.org/limner --event job.done
    """
    with studio() as it:
        made = it.webhooks.add(url, event) if event else it.webhooks.add(url)
    answer = {"webhook": made.webhook, "secret": made.secret}
    show(answer, as_json, lambda out: out.print(f"{made.webhook.id}\n{made.secret}", soft_wrap=True))
    if not as_json:
        words = f"{made.webhook.url} is told of {', '.join(made.webhook.events)}. Check each message with the secret."
        hanging(console(stderr=True), "→", words, indent=2)


@group.command("list")
def list_webhooks(as_json: Json = False) -> None:
    """List the addresses that are told, and what waits for each."""
    with studio() as it:
        found = it.webhooks.all()
    rows = [
        (one.id, one.url, ", ".join(one.events), "on" if one.active else "off", one.waiting, one.given_up)
        for one in found
    ]
    columns = ("id", "address", "events", "is", "waiting", "given up")
    show(found, as_json, lambda out: table(out, columns, rows, "No webhooks. Add one: limner webhooks add URL"))


@group.command("secret")
def secret(webhook: WebhookId, as_json: Json = False) -> None:
    """Print the secret that an address's messages are signed with."""
    with studio() as it:
        found = it.webhooks.secret(webhook)
    show({"secret": found}, as_json, lambda out: out.print(found, soft_wrap=True))


@group.command("test")
def test(webhook: WebhookId, as_json: Json = False) -> None:
    """Send a test message now, and say what it was answered. The exit code is 1 if it was not taken."""
    with studio() as it:
        found = it.webhooks.test(webhook)
    show(found, as_json, lambda out: out.print(found.note, soft_wrap=True))
    if not found.ok:
        raise typer.Exit(1)


@group.command("deliveries")
def deliveries(webhook: WebhookId, as_json: Json = False) -> None:
    """List the newest messages to an address, and their answers."""
    with studio() as it:
        found = it.webhooks.deliveries(webhook)
    rows = [
        (one.id, one.event, one.job, one.state, one.attempts, ago(one.created_at), one.note or "–") for one in found
    ]
    columns = ("message", "event", "job", "state", "attempts", "happened", "answer")
    show(found, as_json, lambda out: table(out, columns, rows, "Nothing was sent yet."))


@group.command("again")
def again(
    webhook: WebhookId,
    delivery: Annotated[int, typer.Argument(metavar="MESSAGE", help="Its number, see `limner webhooks deliveries`.")],
    as_json: Json = False,
) -> None:
    """Deliver a message once more."""
    with studio() as it:
        found = it.webhooks.again(webhook, delivery)
    words = "It is sent by the server or worker that runs, or by the next one."
    show(found, as_json, lambda out: out.print(words))


@group.command("off")
def off(webhook: WebhookId, as_json: Json = False) -> None:
    """Switch an address off; what waits for it is given up."""
    with studio() as it:
        found = it.webhooks.set_active(webhook, False)
    show(found, as_json, lambda out: out.print(f"{found.url} is told nothing more.", soft_wrap=True))


@group.command("on")
def on(webhook: WebhookId, as_json: Json = False) -> None:
    """Switch an address on again."""
    with studio() as it:
        found = it.webhooks.set_active(webhook, True)
    show(found, as_json, lambda out: out.print(f"{found.url} is told of {', '.join(found.events)}.", soft_wrap=True))


@group.command("remove")
def remove(webhook: WebhookId, yes: Sure = False, as_json: Json = False) -> None:
    """Forget an address; what waits for it is not delivered."""
    if not yes and not as_json and sys.stdin.isatty():
        typer.confirm(f"Remove {webhook}?", abort=True)
    with studio() as it:
        gone = it.webhooks.remove(webhook)
    show(gone, as_json, lambda out: out.print(f"{gone.url} is forgotten.", soft_wrap=True))
