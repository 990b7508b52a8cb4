"""The ``hicache-verify`` command: its subcommands, its exit codes, and how it says what went wrong.

0 no divergence, 1 a divergence, 2 could not run, 130 interrupted. What went wrong is said in one
line on standard error; with ``--json`` it is an object on standard output. A traceback is for those
who set HICACHE_VERIFY_TRACEBACK.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import click

from hicache_verify.cannot_run import CannotRun
from hicache_verify.cli.bugs import bugs
from hicache_verify.cli.codes import COULD_NOT_RUN, INTERRUPTED
from hicache_verify.cli.docs import docs
from hicache_verify.cli.doctor import doctor
from hicache_verify.cli.explore import explore
from hicache_verify.cli.minimize import minimize
from hicache_verify.cli.releases import releases
from hicache_verify.cli.replay import replay
from hicache_verify.cli.reproduce import reproduce
from hicache_verify.cli.run import run
from hicache_verify.cli.sweep import sweep


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hicache-verify", message="%(package)s %(version)s")
def commands() -> None:
    """Verify a hierarchical KV cache against a reference model, operation by operation."""


for command in (run, explore, sweep, replay, minimize, reproduce, bugs, releases, doctor, docs):
    commands.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit; never with a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = commands.main(given, prog_name="hicache-verify", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except click.ClickException as error:
        code = _fail(error.format_message(), given)
    except CannotRun as error:
        code = _fail(str(error), given)
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = COULD_NOT_RUN
    except Exception as error:
        if os.environ.get("HICACHE_VERIFY_TRACEBACK"):
            raise
        what = f"internal error: {type(error).__name__}: {error}"
        code = _fail(f"{what} (set HICACHE_VERIFY_TRACEBACK=1 to see where)", given)
    sys.exit(code)


def _fail(message: str, given: list[str]) -> int:
    line = " ".join(message.split())
    if "--json" in given:
        from hicache_verify.report import json_report

        json_report.write(sys.stdout, json_report.error(line))
    else:
        sys.stderr.write(f"hicache-verify: {line}\n")
    return COULD_NOT_RUN


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
