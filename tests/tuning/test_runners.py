"""Runners of kernels elsewhere: the emulator, sshd on loopback, an RPC farm on loopback.

Each needs something that may be missing here, and is skipped with the reason then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from footprint_compiler.errors import RunnerError, UsageError
from footprint_compiler.kernels.anchors import conv2d_nhwc
from footprint_compiler.kernels.machine import machine_of
from footprint_compiler.targets import Target, load_target
from footprint_compiler.tuning.candidate import Built, Source, build_candidate
from footprint_compiler.tuning.emulator import EmulatorRunner
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.runner import Runner
from footprint_compiler.tuning.runners import make_runner
from footprint_compiler.tuning.ssh import SshRunner
from footprint_compiler.tuning.trial import TrialFailed

QUICK = Effort(samples=5, least_sample_us=20, budget_ms=20)


def pair(target: Target) -> tuple[Built, Built]:
    """A small convolution by the default, and with a tile of one pixel and one vector."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 6, 6, 8), "float32"))
    w = relax.Var("w", relax.TensorType((16, 8, 3, 3), "float32"))
    with builder.function("main", [x, w]):
        out = builder.emit_te(conv2d_nhwc, x, w, [1, 1], [1, 1, 1, 1], [1, 1], 1)
        builder.emit_func_output(out)
    module = builder.get()
    func = next(f for v, f in module.functions_items() if v.name_hint != "main")
    weights = np.random.default_rng(0).normal(size=(16, 8, 3, 3)).astype(np.float32)
    source = Source(tvm.ir.save_json(func), machine_of(target), {1: weights}, target)
    default = build_candidate(source, {}, "fpc_default", 0)
    candidate = build_candidate(source, {"tile": (1, 1)}, "fpc_candidate", 0)
    assert default.kernel != candidate.kernel
    return default, candidate


def test_instructions_and_cycles_in_the_emulator(needs_emulator):
    needs_emulator("cortex-a72")
    target = load_target("cortex-a72")
    default, candidate = pair(target)
    counted = EmulatorRunner(target, "instructions").measure(default, candidate, QUICK)
    again = EmulatorRunner(target, "instructions").measure(default, candidate, QUICK)
    assert counted == again
    assert counted.unit == "instructions"
    assert counted.ratio > 1
    runner = EmulatorRunner(target)
    modelled = runner.measure(default, candidate, QUICK)
    assert modelled.unit == "cycles"
    assert "cortex-a72 model" in runner.name
    assert modelled.ratio > counted.ratio
    with pytest.raises(TrialFailed, match="by the model") as failed:
        EmulatorRunner(target, "guarded").measure(default, candidate, QUICK)
    assert failed.value.kind == "slower"


@pytest.fixture(scope="module")
def here() -> Target:
    return load_target("native")


@pytest.fixture
def processes():
    """Starts programs in sessions of their own, and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on port {port}")


def test_over_ssh(here, processes, tmp_path):
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
    if sshd is None or shutil.which("ssh") is None or os.geteuid() != 0:
        pytest.skip("needs sshd and ssh, and root to start sshd")
    config, server = _loopback_sshd(Path(sshd), processes, tmp_path)
    runner = SshRunner(here, "root@board", config=config)
    default, candidate = pair(here)
    try:
        costs = runner.measure(default, candidate, QUICK)
        assert costs.unit == "us"
        assert costs.default > 0
        place = Path(runner._folder)
        assert (place / "measure").is_file()
        broken = Built(b"", "fpc_candidate", candidate.arguments, 0, "", {})
        with pytest.raises(TrialFailed):
            runner.measure(default, broken, QUICK)
        shutil.rmtree(place)  # as after a restart of the device
        assert runner.measure(default, candidate, QUICK).candidate > 0
        end(server)
        subprocess.run([*runner._ssh[:-1], "-O", "exit", "board"], check=True, capture_output=True)
        with pytest.raises(TrialFailed) as failed:
            runner.measure(default, candidate, QUICK)
        assert failed.value.kind == "lost"
    finally:
        runner.close()
    with pytest.raises(RunnerError, match="cannot reach root@nobody"):
        SshRunner(here, "root@nobody", config=config)


def _loopback_sshd(sshd: Path, processes, folder: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    """Starts sshd on loopback with keys of its own; returns a configuration for ssh, and sshd."""
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    port, closed = free_port(), free_port()
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPidFile none\nPermitRootLogin yes\nUsePAM no\n",
        encoding="utf-8",
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = processes(sshd, "-D", "-f", settings)
    wait_for(port)
    config = folder / "ssh_config"
    common = f"  HostName 127.0.0.1\n  IdentityFile {folder}/user\n  StrictHostKeyChecking no\n"
    common += f"  UserKnownHostsFile {folder}/known\n  LogLevel ERROR\n"
    config.write_text(
        f"Host board\n{common}  Port {port}\nHost nobody\n{common}  Port {closed}\n",
        encoding="utf-8",
    )
    return config, server


def test_a_farm_with_a_server_that_dies(here, processes):
    if importlib.util.find_spec("tornado") is None:
        pytest.skip("TVM's RPC tracker needs the package tornado")
    port = free_port()
    python = (sys.executable, "-m")
    tracker = processes(*python, "tvm.exec.rpc_tracker", "--host", "127.0.0.1", "--port", port,
                        "--port-end", port + 1)  # fmt: skip
    wait_for(port)
    servers = []
    for _ in range(2):
        own = free_port()
        servers.append(
            processes(*python, "tvm.exec.rpc_server", "--host", "127.0.0.1", "--port", own,
                      "--port-end", own + 1, "--tracker", f"127.0.0.1:{port}", "--key", "here")
        )  # fmt: skip
    runner = _farm_runner(here, port)
    with pytest.raises(RunnerError, match="no server with key other"):
        make_runner(f"rpc://127.0.0.1:{port}?key=other", here)
    default, candidate = pair(here)
    try:
        assert runner.measure(default, candidate, QUICK).ratio > 0
        end(servers[0])
        for _ in range(3):
            assert runner.measure(default, candidate, QUICK).unit == "us"
        end(tracker)
        end(servers[1])
        with pytest.raises(TrialFailed) as failed:
            runner.measure(default, candidate, QUICK)
        assert failed.value.kind == "lost"
    finally:
        runner.close()
    with pytest.raises(RunnerError, match="no RPC tracker"):
        make_runner(f"rpc://127.0.0.1:{free_port()}?key=here", here)


def _farm_runner(here: Target, port: int) -> Runner:
    """As soon as a server has reported to the tracker."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return make_runner(f"rpc://127.0.0.1:{port}?key=here", here)
        except RunnerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("remote", "no runner 'remote'"),
        ("ssh://", "no runner"),
        ("ssh://host:port", "Port could not be cast"),
        ("rpc://host", r"needs \?key=NAME"),
    ],
)
def test_runners_that_are_none(here, text, said):
    with pytest.raises(UsageError, match=said):
        make_runner(text, here)
