#!/usr/bin/env python3
"""Run a command as a user without privileges, who has used up the quota of pipe pages.

Every pipe which the command makes is then a page or two deep, and may not grow (pipe(7), pipe-user-pages-soft).
Started by root, it becomes the user nobody first. Exit status: the command's; 2 if there is no quota to use up.

    python tests/attacks/without_quota.py python tests/attacks/torture.py --trials 100
    python tests/attacks/without_quota.py pytest tests/pipes -p no:cacheprovider
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile

NOBODY = 65534
MOST_PIPES = 10_000


def become_nobody() -> None:
    """Give up root's privileges for good."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def use_up_quota() -> list[int]:
    """Hold pipes until this user may not make another one deep; return their descriptors."""
    held: list[int] = []
    while len(held) < 2 * MOST_PIPES:
        held += os.pipe()
        try:
            fcntl.fcntl(held[-1], fcntl.F_SETPIPE_SZ, 1 << 20)
        except OSError as error:
            if error.errno == errno.EPERM:
                return held
            raise
    raise SystemExit("this user has no quota to use up")


def main(command: list[str]) -> int:
    """Run the command, and return its exit status."""
    if not command or command[0] in ("-h", "--help"):
        print(__doc__)
        return 2
    if os.geteuid() == 0:
        become_nobody()
    held = use_up_quota()
    print(f"user {os.geteuid()}, {len(held) // 2} pipes held", flush=True)
    with tempfile.TemporaryDirectory(prefix="monkeywrench-") as home:
        # What the command keeps at home, and pytest in its cache, has to be this user's own.
        own = {"HOME": home, "TMPDIR": home, "HYPOTHESIS_STORAGE_DIRECTORY": home, "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {**os.environ, **own}
        return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
