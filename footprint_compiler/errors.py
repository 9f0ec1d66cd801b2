"""Every error that a user can cause: one class per cause, with an id, a remedy and an exit code.

Library code raises these; only ``cli/`` prints and exits. The id never changes once released.
"""

from __future__ import annotations

from typing import Any

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_BUDGET = 3
EXIT_UNSUPPORTED = 4
EXIT_ACCURACY = 5
EXIT_DEVICE = 6
EXIT_TOOLCHAIN = 7
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class FpcError(Exception):
    """Base class.

    Args:
        message: one line that says what is wrong, naming the file, key, node or value.
        remedy: one line that says what the user can do; the class default when omitted.
    """

    id = "FPC-E000"
    exit_code = EXIT_INTERNAL
    default_remedy = "Please report this with the output of `fpc --debug ...`."

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy

    def __str__(self) -> str:
        return f"{self.id}: {self.message}"


class UsageError(FpcError):
    """An option or argument is wrong."""

    id = "FPC-E001"
    exit_code = EXIT_USAGE
    default_remedy = "See `fpc COMMAND --help`."


class ModelFileError(FpcError):
    """The model file is missing, unreadable, truncated, corrupt or not ONNX."""

    id = "FPC-E010"
    exit_code = EXIT_UNSUPPORTED
    default_remedy = "Check the file with `onnx.checker` or export the model again."


class DynamicShapeError(FpcError):
    """A dimension of a model input has no value."""

    id = "FPC-E011"
    exit_code = EXIT_USAGE
    default_remedy = "Bind it with `--shape NAME=1,3,224,224`."


class UnsupportedModelError(FpcError):
    """Nodes that fpc cannot compile; ``nodes`` lists all of them.

    Args:
        nodes: tuples (node name, operator, reason, what to do).
    """

    id = "FPC-E012"
    exit_code = EXIT_UNSUPPORTED
    default_remedy = "See `fpc supported-ops`; replace or remove the nodes listed."

    def __init__(
        self,
        message: str,
        remedy: str | None = None,
        nodes: tuple[tuple[str, str, str, str], ...] = (),
    ) -> None:
        super().__init__(message, remedy)
        self.nodes = nodes


class ModelLimitError(FpcError):
    """The model asks for more memory or nodes than a compile-time limit allows."""

    id = "FPC-E013"
    exit_code = EXIT_UNSUPPORTED
    default_remedy = "Use a smaller model or input shape."


class InputDataError(FpcError):
    """Data given to run, validate or calibrate does not fit the model."""

    id = "FPC-E020"
    exit_code = EXIT_USAGE
    default_remedy = "Give an .npz whose keys, shapes and dtypes are the model's inputs."


class ArtifactError(FpcError):
    """A folder or file given as a build is not one, or is damaged."""

    id = "FPC-E021"
    exit_code = EXIT_USAGE
    default_remedy = "Build it again with `fpc build`."


class TuningRecordError(FpcError):
    """A folder or file of tuning records is missing, or a line of it is not a record."""

    id = "FPC-E022"
    exit_code = EXIT_USAGE
    default_remedy = "Mend or remove what is named; `--tuning-records none` builds without records."


class TargetError(FpcError):
    """A target is unknown, or its file has a wrong key or value."""

    id = "FPC-E030"
    exit_code = EXIT_USAGE
    default_remedy = "See `fpc targets`."


class OutputError(FpcError):
    """The output cannot be written: permission, full disk, not a folder."""

    id = "FPC-E040"
    exit_code = EXIT_USAGE
    default_remedy = "Choose another place with -o, or free some space."


class BudgetError(FpcError):
    """A budget for RAM or flash cannot be met; ``lines`` explain what the memory is made of."""

    id = "FPC-E050"
    exit_code = EXIT_BUDGET
    default_remedy = "Raise the budget or use a smaller model."

    def __init__(
        self, message: str, remedy: str | None = None, lines: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, remedy)
        self.lines = lines


class PlanError(FpcError):
    """A memory plan failed its verifier."""

    id = "FPC-E051"
    exit_code = EXIT_INTERNAL


class ValidationError(FpcError):
    """Outputs differ from the reference by more than the tolerance."""

    id = "FPC-E060"
    exit_code = EXIT_ACCURACY
    default_remedy = "`fpc validate --layers --bisect` names the first tensor that departs."


class RunnerError(FpcError):
    """A device or emulator did not run the artifact to its end."""

    id = "FPC-E070"
    exit_code = EXIT_DEVICE
    default_remedy = "See the output above; `fpc doctor` checks the emulators."


class ToolchainError(FpcError):
    """A tool (linker, compiler, emulator) is missing or failed."""

    id = "FPC-E080"
    exit_code = EXIT_TOOLCHAIN
    default_remedy = "Run `fpc doctor`; it prints the command that installs what is missing."


class CodegenError(FpcError):
    """Generated code breaks one of fpc's own guarantees (undefined symbols, recursion, stack)."""

    id = "FPC-E081"
    exit_code = EXIT_INTERNAL


class InterruptedByUser(FpcError):  # noqa: N818 - it is not an error of the program
    """Ctrl-C."""

    id = "FPC-E130"
    exit_code = EXIT_INTERRUPTED
    default_remedy = "Nothing was written; run the command again."


class Terminated(InterruptedByUser):
    """SIGTERM."""

    id = "FPC-E143"
    exit_code = EXIT_TERMINATED


class AccuracyError(FpcError):
    """Quantization costs more accuracy than the user allows; ``steps`` lists what was measured."""

    id = "FPC-E061"
    exit_code = EXIT_ACCURACY
    default_remedy = "Raise --max-drop, or give more calibration data."

    def __init__(
        self, message: str, remedy: str | None = None, steps: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(message, remedy)
        self.steps = steps
