"""``ccb measure``: execute the plan of measurements, or show its progress."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ccb_lib.cli.data import FOLDER, ROOT

if TYPE_CHECKING:
    from ccb_lib.reproduction.plan import Entry, State

_NICE = 10  # a lower priority than other programs on the machine
_ON_TERMINAL = 5.0  # seconds between two lines of progress


@click.command()
@click.option(
    "--hours",
    type=click.FloatRange(min=0),
    help="Stop after so many hours; no limit by default.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="An entry of the plan; may be repeated; all entries by default.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what is done and missing, and estimate the hours on this machine.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option(
    "--fast/--plain",
    default=None,
    help="Train by the fast or plain path; see the chapter on speed.",
)
@click.option("--results", type=FOLDER, help="Folder of the results; data/results by default.")
@click.option("--work", type=FOLDER, help="Folder of checkpoints; by default in that of results.")
@click.option(
    "--merge",
    type=click.Path(path_type=Path),
    help="Add the results of another machine's file or folder, and exit.",
)
@ROOT
@click.pass_context
def measure(ctx: click.Context, **given: Any) -> None:
    """Execute the plan of measurements, data/results/plan.toml, in its order.

    Stored runs are skipped. Give the same command again to resume an interrupted run from its last
    complete epoch. When the time is up, the work stops after an epoch; Ctrl-C and SIGTERM stop it
    at once.

    The exit status is 0 if all runs are done or the time is up, 1 if runs failed, 130 after Ctrl-C
    or SIGTERM.
    """
    from ccb_lib.reproduction.plan import plan_path, read_plan

    if given["merge"]:
        from ccb_lib.reproduction.measure import merge

        merge(given["merge"], given["results"], click.echo)
        return
    entries = read_plan(plan_path(given["results"]))
    if unknown := set(given["only"]) - {entry.name for entry in entries}:
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))} is no entry; there are "
            f"{', '.join(entry.name for entry in entries)}.",
            param_hint="--only",
        )
    entries = [entry for entry in entries if not given["only"] or entry.name in given["only"]]
    root = None if given["root"] is None else str(given["root"])
    if given["dry_run"]:
        _show(entries, given, root)
    else:
        _work(ctx, entries, given, root)


# ── executing ────────────────────────────────────────────────────────────────────────────────────


def _work(
    ctx: click.Context, entries: "list[Entry]", given: dict[str, Any], root: str | None
) -> None:
    from ccb_lib.environment import choose_device
    from ccb_lib.reproduction.measure import measure as execute_plan
    from ccb_lib.reproduction.watch import Watch

    device = choose_device(given["device"])
    if device.type == "cpu" and hasattr(os, "nice"):
        _say(f"works on the CPU at low priority (nice {os.nice(_NICE)})")
    failed: dict[str, str] = {}
    with Watch(given["hours"], _say, every=_ON_TERMINAL if sys.stdout.isatty() else 60.0) as watch:
        failed = execute_plan(
            entries,
            watch=watch,
            folder=given["results"],
            work=given["work"],
            root=root,
            device=given["device"],
            fast=given["fast"],
        )
    _say(watch.reason or ("All other runs are done." if failed else "All runs are done."))
    for state in _states(entries, given):
        _say_without_scores(state)
    for run, reason in failed.items():
        click.echo(f"Failed: {run}: {reason}", err=True)
    if failed:
        ctx.exit(1)


def _say(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M')} {line}")


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def _states(entries: "list[Entry]", given: dict[str, Any]) -> "list[State]":
    from ccb_lib.reproduction.plan import state_of

    return [state_of(entry, folder=given["results"], work=given["work"]) for entry in entries]


def _show(entries: "list[Entry]", given: dict[str, Any], root: str | None) -> None:
    from ccb_lib.environment import machine
    from ccb_lib.reproduction.estimate import Estimates

    states = _states(entries, given)
    estimates = Estimates(root=root, device=given["device"], fast=given["fast"])
    width = max(len(entry.name) for entry in entries)
    click.echo(f"{'entry':{width}}  must  done  missing  hours left, scoring in brackets")
    total, musts, unknown = 0.0, 0.0, {}
    for state in states:
        try:
            hours = estimates.hours(state.missing, state.under_way)
        except FileNotFoundError as error:  # images are missing; other entries can be estimated
            hours, unknown[str(error)] = None, None
        total += sum(hours or ())
        musts += sum(hours or ()) if state.entry.must else 0.0
        shown = (
            "unknown"
            if hours is None
            else f"{sum(hours):.1f} ({hours[1]:.1f})"
            if state.missing
            else "–"
        )
        must = "must" if state.entry.must else ""
        done = f"{len(state.done)}"
        click.echo(
            f"{state.entry.name:{width}}  {must:4}  {done:>4}  {len(state.missing):>7}  {shown}"
        )
    more = ", without the unknown ones" if unknown else ""
    click.echo(f"Hours left: {total:.1f}, of which musts {musts:.1f}{more}.")
    if estimates.costs:
        where = f"{machine()['machine']}, GPU {machine()['GPU']}"
        kinds = f"{len(estimates.costs)} kinds of run"
        click.echo(f"Estimated from a few steps of {kinds} on this machine ({where}).")
    for error in unknown:
        click.echo(f"Unknown: {error}")
    for state in states:
        for run in state.missing:
            if run.key in state.under_way:
                done = f"{state.under_way[run.key]} of {run.settings['epochs']} epochs"
                click.echo(f"Under way: {run}: {done}.")
        _say_without_scores(state)


def _say_without_scores(state: "State") -> None:
    for run, protocols in state.without_scores:
        click.echo(
            f"Stored without scores under {', '.join(protocol.name for protocol in protocols)}: "
            f"{run}. They need the trained detector, which is not kept; train it again to get them."
        )
