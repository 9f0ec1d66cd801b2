"""Make a virtual environment with pip, also where the distribution splits off ensurepip.

usage: python .ci/make_venv.py FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.util import find_spec

HELP = """\
This Python has neither ensurepip nor virtualenv nor pip, so it cannot make a virtual environment.
Install one of them, for example on Debian or Ubuntu: apt-get install python3-venv
or use another Python: make PYTHON=/path/to/python ..."""


def main(folder: str) -> int:
    """Return the exit code: 0, or 1 with an explanation."""
    if find_spec("ensurepip"):
        venv.create(folder, with_pip=True, clear=True)
        return 0
    if find_spec("virtualenv"):
        return subprocess.call([sys.executable, "-m", "virtualenv", "--quiet", folder])
    if find_spec("pip"):
        venv.create(folder, with_pip=False, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "pip"]
        return subprocess.call(pip)
    print(HELP, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
