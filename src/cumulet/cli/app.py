"""All commands by name, and how a command ends: its words on stderr and its exit code.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 no capacity, 5 not done in time, 130 interrupted; with
several names that of the first failure.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import App, CoercionError, CycloptsError, Parameter, Token, UnknownCommandError

from cumulet.cli.client import Declined
from cumulet.cli.config import CHOSEN, chosen, usual_project
from cumulet.cli.follow import Interrupted
from cumulet.cli.guesses import guess
from cumulet.cli.output import OPTIONS, printable
from cumulet.cli.several import SomeFailed
from cumulet.cli.words import PROJECT_VARIABLE, AnyContext, refuse_empty
from cumulet.errors import CumuletError

if TYPE_CHECKING:
    from cyclopts import ArgumentCollection

EXIT_CODES: Final[Mapping[int, int]] = {3: 2, 4: 5, 5: 3}
"""From gRPC's numbers (invalid argument, deadline exceeded, not found) to ours; all others are 1."""
EXIT_CODES_OF_REASONS: Final[Mapping[str, int]] = {"NOT_FOUND": 3, "NO_CAPACITY": 4}
"""Both are invalid arguments by gRPC's number."""

COMPLETE: Final = "__complete"
"""What a shell runs us with for names to complete."""
USED_WRONGLY: Final = 2
INTERRUPTED: Final = 130


def version() -> str:
    """Say which version this is."""
    import importlib.metadata  # noqa: PLC0415 - a sixth of the start of a command that does not ask for it

    return f"cumulet {importlib.metadata.version('cumulet')}"


def name_project(_app: App, _words: Sequence[str], arguments: ArgumentCollection) -> None:
    """Give a command that was given no project that of its context."""
    for argument in arguments:
        if PROJECT_VARIABLE not in (argument.parameter.env_var or ()):
            continue
        outranked = argument.tokens and (argument.tokens[0].source == "cli" or not CHOSEN.get())
        if not outranked and (project := usual_project()):
            argument.tokens[:] = [Token(keyword="--context", value=project, source="context")]


app = App(
    name="cumulet",
    config=name_project,
    help="A cloud of virtual machines on machines you own.",
    version=version,
    default_parameter=OPTIONS,
    suppress_keyboard_interrupt=False,
)
for module, name, what in (
    ("vms", "vm", "Create and manage virtual machines."),
    ("disks", "disk", "Manage storage disks, which outlive the VMs that they are attached to."),
    ("private_images", "private-image", "Capture images of your VMs, to create others from."),
    ("data_centers", "data-center", "Show where VMs can run."),
    ("machine_types", "machine-type", "Show the kinds of VMs and what they cost."),
    ("networks", "network", "Manage the private networks that connect VMs."),
    ("security_groups", "security-group", "Manage the rules for traffic to and from VMs."),
    ("ssh_keys", "ssh-key", "Manage the SSH keys that your VMs get."),
    ("contexts", "context", "Manage the clouds that you call, each with its key and its usual project."),
    ("projects", "project", "Show the projects that you belong to, and leave them."),
    ("members", "member", "Manage who belongs to a project."),
    ("api_keys", "key", "Manage the API keys that act for you."),
    (
        "users",
        "user",
        "Invite, suspend and remove the users of this cloud (operator), or accept an invitation.",
    ),
    ("quotas", "quota", "Show how much a project may have, and has; set it (operator)."),
    ("images", "image", "Manage the images of this installation (operator)."),
    ("hosts", "host", "Manage the machines that VMs run on (operator)."),
    ("gpus", "gpu", "Show the GPUs of the hosts, and what keeps them from VMs (operator)."),
    ("webhooks", "webhook", "Manage the URLs that are told of what happens in a project."),
    ("audit", "audit", "Show who asked for what, and what came of it."),
    ("tls", "tls", "Make a certificate for this machine's server (operator)."),
    ("doctor", "doctor", "Examine and prepare this machine as a host (operator)."),
):
    app.command(f"cumulet.cli.{module}:app", name=name, help=what)
for function, what in (
    ("up:up", "Turn this machine into a cloud and boot a first VM (operator)."),
    ("down:down", "Stop the server that `cumulet up` started (operator)."),
    ("login:login", "Try an API key, and keep it with its cloud as a context."),
    ("web:web", "Open the web console in a browser, signed in."),
    ("search:search", "Find what you have by a part of its name, in all projects."),
    ("watch:watch", "Follow what happens in a project, as it happens."),
    ("raw:api", "Call the API directly, for what has no command of its own."),
    ("usage:usage", "Show what the project used and spent."),
):
    app.command(f"cumulet.cli.{function}", help=what, help_flags=app.help_flags)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print what makes a shell complete these commands: `source <(cumulet completion bash)`.

    :param shell: The shell that you use.
    """
    sys.stdout.write(app.generate_completion(shell=shell))


app.meta.suppress_keyboard_interrupt = False
app.meta.help_flags = app.meta.version_flags = ()  # a command's own, or of a command that it passes on


@app.meta.default
def begin(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], context: AnyContext = None
) -> int | None:
    """A cloud of virtual machines on machines you own.

    :param context: The cloud to call, by the name of its context.
    """
    with chosen(context or ""):
        code: int | None = app(words, result_action="return_value", exit_on_error=False, print_error=False)
        return code


def completed_context(words: Sequence[str]) -> str:
    """Name the context of a line that a shell completes, if these words are one: names are then asked for there."""
    line = words[:-1] if words and words[0] == COMPLETE else ()
    return next((name for flag, name in itertools.pairwise(line) if flag == "--context"), "")


def run(words: Sequence[str]) -> int:
    """Run a command; gives its exit code."""
    try:
        if COMPLETE not in words[:1]:
            refuse_empty(words)
        with chosen(completed_context(words)):
            code = app.meta(
                words,
                result_action="return_int_as_exit_code_else_zero",
                exit_on_error=False,
                print_error=False,
            )
        sys.stdout.flush()
    except (CumuletError, Declined) as refused:
        return ended(refused)
    except SomeFailed as some:
        codes = [ended(failure) for failure in some.failures]
        return codes[0]
    except CycloptsError as wrong:
        print_error(wrong_words(wrong))
        return USED_WRONGLY
    except (KeyboardInterrupt, Interrupted) as interrupted:
        print_error(str(interrupted) or "interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(code)


def ended(refused: CumuletError | Declined) -> int:
    """Tell a refusal; gives the exit code that it ends a command with. Who runs a command here may read what a server keeps to its log."""
    print_error(refused.for_operator if isinstance(refused, CumuletError) else refused.message)
    return exit_code(refused.code, refused.details)


def print_error(words: str) -> None:
    """Say a command's last words."""
    print(f"cumulet: {printable(words)}", file=sys.stderr)  # noqa: T201 - what this is for


def wrong_words(wrong: CycloptsError) -> str:
    """Say what was wrong with the words of a command, and what would be right."""
    if isinstance(wrong, UnknownCommandError) and wrong.app and wrong.unused_tokens:
        return guess(wrong.command_chain or (), wrong.unused_tokens, wrong.app, app["vm"])
    if isinstance(wrong, CoercionError) and wrong.msg and wrong.argument:  # said by a converter of ours
        option = wrong.token.keyword if wrong.token else None
        return f"{option or wrong.argument.name.lstrip('-').upper()}: {wrong.msg}"
    return str(wrong)


def exit_code(code: int, details: Sequence[Mapping[str, Any]]) -> int:
    """Say with which exit code a refusal ends a command."""
    reasons = [str(detail.get("reason")) for detail in details]
    codes = [EXIT_CODES_OF_REASONS[reason] for reason in reasons if reason in EXIT_CODES_OF_REASONS]
    return codes[0] if codes else EXIT_CODES.get(code, 1)
