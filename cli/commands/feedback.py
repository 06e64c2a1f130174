"""`judge` and `route`: telling the assistant what was right and what was wrong."""

from __future__ import annotations

from cli.context import Context
from cli.parser import Commands, add_command
from core.messages import ChooseRouteRequest, Done, Intent, JudgeRequest, Outcome

_TAKE_BACK = "none"


def register(commands: Commands) -> None:
    """Add the commands."""
    judge = add_command(commands, "judge", run_judge, "say what became of code that rests on a task, or take that back")
    judge.add_argument("task", metavar="TASK", help="the source's id, as the answer shows it")
    judge.add_argument("outcome", choices=[*(one.value for one in Outcome), _TAKE_BACK])
    judge.add_argument("query", nargs="+", help="what was asked for")

    route = add_command(commands, "route", run_route, "say which intent a question has, or take that back")
    route.add_argument("intent", choices=[*(one.value for one in Intent), _TAKE_BACK])
    route.add_argument("query", nargs="+", help="the question")


def run_judge(context: Context) -> Done:
    """Keep or take back what became of an answer."""
    options = context.options
    outcome = None if options.outcome == _TAKE_BACK else Outcome(options.outcome)
    return context.call(JudgeRequest(query=" ".join(options.query), task_id=options.task, outcome=outcome), Done)


def run_route(context: Context) -> Done:
    """Keep or take back the intent of a question."""
    options = context.options
    intent = None if options.intent == _TAKE_BACK else Intent(options.intent)
    return context.call(ChooseRouteRequest(query=" ".join(options.query), intent=intent), Done)
