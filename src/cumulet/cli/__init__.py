"""The command line: a client of the API like any other, and the operator's commands for the machine itself.

A command is an ordinary function whose parameters are its options. Modules are loaded when one of their commands is
called, so that a client neither waits for the server's libraries nor needs them.
"""

from cumulet.cli.app import app, run

__all__ = ["app", "run"]
