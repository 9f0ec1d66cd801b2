"""The program `fpc`: one group, one command per file beside this one.

Commands import the compiler when they run, so that `fpc --help` answers at once.
"""

from __future__ import annotations

import click

from footprint_compiler.cli.bench import bench
from footprint_compiler.cli.build import build
from footprint_compiler.cli.command import FpcGroup
from footprint_compiler.cli.doctor import doctor
from footprint_compiler.cli.package import package
from footprint_compiler.cli.plan import plan
from footprint_compiler.cli.quantize import quantize
from footprint_compiler.cli.run import run
from footprint_compiler.cli.sensitivity import sensitivity
from footprint_compiler.cli.supported_ops import supported_ops
from footprint_compiler.cli.targets import targets
from footprint_compiler.cli.tune import tune
from footprint_compiler.cli.validate import validate

EPILOG = """Exit codes: 0 done, 1 internal error, 2 usage, 3 budget missed, 4 unsupported model,
5 accuracy gate, 6 device or runner, 7 toolchain missing, 130 interrupted,
143 terminated."""


@click.group(cls=FpcGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="footprint-compiler", prog_name="fpc")
def cli() -> None:
    """Compile ONNX models to small C libraries with a static memory plan."""


COMMANDS = (
    build,
    quantize,
    sensitivity,
    run,
    plan,
    validate,
    bench,
    tune,
    package,
    targets,
    supported_ops,
    doctor,
)

for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script; exits with the command's code."""
    cli()


if __name__ == "__main__":
    main()
