"""`models`: what is installed and what is loaded."""

from __future__ import annotations

from cli.context import Context
from cli.parser import Commands, add_command
from core.messages import Action, Models, ModelsRequest, Role


def register(commands: Commands) -> None:
    """Add the commands."""
    models = add_command(commands, "models", None, "list, pull, remove, load or unload models")
    actions = models.add_subparsers(metavar="ACTION", required=True)

    add_command(actions, "list", run, "show the model sets, and the model of each role").set_defaults(
        action=Action.LIST
    )
    pull = add_command(actions, "pull", run, "bring a model set to this machine; goes on where it was interrupted")
    pull.set_defaults(action=Action.PULL)
    remove = add_command(actions, "remove", run, "delete a model set from this machine")
    remove.set_defaults(action=Action.REMOVE)
    for parser in (pull, remove):
        parser.add_argument("set", metavar="SET", help="starter, small, full, or a hub id")
    load = add_command(actions, "load", run, "load the model of a role now")
    load.set_defaults(action=Action.LOAD)
    load.add_argument("role", choices=[Role.EXPLAIN.value, Role.GENERATE.value])
    unload = add_command(actions, "unload", run, "free the memory of one or all models")
    unload.set_defaults(action=Action.UNLOAD)
    unload.add_argument("role", nargs="?", choices=[Role.EXPLAIN.value, Role.GENERATE.value])


def run(context: Context) -> Models:
    """Do what the action says."""
    options = context.options
    role = getattr(options, "role", None)
    request = ModelsRequest(action=options.action, role=Role(role) if role else None, set=getattr(options, "set", None))
    return context.call(request, Models)
