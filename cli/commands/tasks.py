"""`teach`, `tasks` and `index`: the store of solved tasks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli.context import Context
from cli.keyboard import read_block, read_line
from cli.parser import Commands, Location, UsageError, add_command, read_selection
from core.messages import (
    Exported,
    ExportTasksRequest,
    ForgetRequest,
    Imported,
    ImportTasksRequest,
    Origin,
    RestoreTaskRequest,
    TaskDetails,
    TaskList,
    TaskRequest,
    TasksRequest,
    Taught,
    TeachRequest,
    UpdateTaskRequest,
)

_STDIN = "-"
_HUMANEVAL = "humaneval"
_HUB = "hub:"


def register(commands: Commands) -> None:
    """Add the commands."""
    teach = add_command(
        commands, "teach", run_teach, "store a solved task; asks for what is not given", epilog=_TEACH_EPILOG
    )
    _add_task_options(teach)

    index = add_command(commands, "index", run_index, "store the solved tasks of a whole source")
    index.add_argument("source", help="humaneval, FILE.jsonl[.gz], hub:OWNER/NAME, or a folder of Python files")

    tasks = add_command(commands, "tasks", None, "list, search, show, edit, forget, restore, export or import tasks")
    actions = tasks.add_subparsers(metavar="ACTION", required=True)

    listing = add_command(actions, "list", run_list, "list stored tasks")
    search = add_command(actions, "search", run_list, "search stored tasks by meaning")
    search.add_argument("query", nargs="+")
    for parser in (listing, search):
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="show at most this many (default: 50)")
        _add_origin(parser)
    listing.set_defaults(query=None)

    show = add_command(actions, "show", run_show, "show one task")
    edit = add_command(actions, "edit", run_edit, "change the given parts of a task")
    forget = add_command(actions, "forget", run_forget, "delete a task; `restore` brings it back")
    restore = add_command(actions, "restore", run_restore, "bring a deleted task back")
    for parser in (show, edit, forget, restore):
        parser.add_argument("task", metavar="TASK", help="the task's id, as `list` shows it")
    _add_task_options(edit)

    export = add_command(actions, "export", run_export, "write tasks to a JSON-lines file")
    export.add_argument("file", type=Path)
    _add_origin(export)
    load = add_command(actions, "import", run_index, "store the tasks of a JSON-lines file")
    load.add_argument("source", metavar="FILE")


_TEACH_EPILOG = "The implementation is read from --file, else from standard input, else typed in."


def run_teach(context: Context) -> Taught:
    """Store a solved task."""
    options = context.options
    typed = sys.stdin.isatty()
    description = options.description
    if description is None:
        if not typed:
            raise UsageError("--description is needed where nobody can be asked for it.")
        description = read_line("What does the code do? ")
    if options.file is not None:
        implementation = _read(options.file)
    elif typed:
        implementation = read_block("The code, ended by a line with a single dot or Ctrl-D:")
    else:
        implementation = sys.stdin.read()
    request = TeachRequest(
        description=description,
        implementation=implementation,
        tests=_read(options.tests) if options.tests else None,
        language=options.language or "python",
    )
    return context.call(request, Taught)


def run_index(context: Context) -> Imported:
    """Store the solved tasks of a source."""
    source = context.options.source
    if source != _HUMANEVAL and not source.startswith(_HUB):
        path = Path(source).expanduser().resolve()
        if not path.exists():
            raise UsageError(
                f"There is no file or folder {source!r}; a source is humaneval, a JSON-lines file, "
                "hub:OWNER/NAME or a folder of Python files."
            )
        source = str(path)
    return context.call(ImportTasksRequest(source=source), Imported)


def run_list(context: Context) -> TaskList:
    """List tasks, or search them by meaning."""
    options = context.options
    query = " ".join(options.query) if options.query else None
    return context.call(TasksRequest(query=query, origin=_origin(options), limit=options.limit), TaskList)


def run_show(context: Context) -> TaskDetails:
    """Show one task."""
    return context.call(TaskRequest(task_id=context.options.task), TaskDetails)


def run_edit(context: Context) -> TaskDetails:
    """Change the given parts of a task."""
    options = context.options
    request = UpdateTaskRequest(
        task_id=options.task,
        description=options.description,
        implementation=_read(options.file) if options.file else None,
        tests=_read(options.tests) if options.tests else None,
        language=options.language,
    )
    if (request.description, request.implementation, request.tests, request.language) == (None,) * 4:
        raise UsageError("Nothing to change: give --description, --file, --tests or --language.")
    return context.call(request, TaskDetails)


def run_forget(context: Context) -> TaskDetails:
    """Delete a task."""
    return context.call(ForgetRequest(task_id=context.options.task), TaskDetails)


def run_restore(context: Context) -> TaskDetails:
    """Bring a deleted task back."""
    return context.call(RestoreTaskRequest(task_id=context.options.task), TaskDetails)


def run_export(context: Context) -> Exported:
    """Write tasks to a JSON-lines file."""
    options = context.options
    path = str(options.file.expanduser().resolve())
    return context.call(ExportTasksRequest(path=path, origin=_origin(options)), Exported)


def _add_task_options(parser: argparse.ArgumentParser) -> None:
    code = "FILE[:START-END]"
    parser.add_argument("--description", metavar="TEXT", help="what the code does")
    parser.add_argument("--file", metavar=code, type=Location.parse, help="the correct implementation; - reads input")
    parser.add_argument("--tests", metavar=code, type=Location.parse, help="tests of the implementation")
    parser.add_argument("--language", metavar="NAME", help="language of the implementation (default: python)")


def _add_origin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--origin", choices=[one.value for one in Origin], help="only tasks from there")


def _origin(options: argparse.Namespace) -> Origin | None:
    return Origin(options.origin) if options.origin else None


def _read(location: Location) -> str:
    return sys.stdin.read() if str(location.path) == _STDIN else read_selection(location).text
