"""A process that has a program imported, and forks one for each run of it that is asked for.

A fresh interpreter for each takes longer than most of what is tested. Each is a process of its own all the same, with
its own input, output, directory, environment, exit status and end.

Its arguments are the descriptor of a socket of packets and the program: ``monkeywrench`` or ``pytest``. Each packet is
a JSON array of arguments, directory and environment, and comes with three descriptors, for the standard streams; the
answer is the exit status.
"""

import json
import os
import socket
import sys

LONGEST = 1 << 17


def command_line():
    """Return the command line's main, with what its commands import."""
    from monkeywrench.scenarios import __main__, _doctor, _matrix, _queue, _run  # noqa: F401 -- for those forked

    return __main__.main


def forked_pytest():
    """Return pytest's main. Nothing of a plugin's: pytest has to be the first to import that."""
    import pytest

    return lambda: sys.exit(pytest.main())


PROGRAMS = {"monkeywrench": command_line, "pytest": forked_pytest}


def serve(channel: socket.socket) -> bool:
    """Fork whatever is asked for. Return twice or more: False when nobody asks any more, True in each fork."""
    while True:
        packet, descriptors, _, _ = socket.recv_fds(channel, LONGEST, 3)
        if not packet:
            return False
        pid = os.fork()
        if pid == 0:
            channel.close()
            args, directory, environment = json.loads(packet)
            for stream, descriptor in enumerate(descriptors):
                os.dup2(descriptor, stream)
                os.close(descriptor)
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv[1:] = args
            sys.path[0] = directory  # as with python -m
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        channel.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    main = PROGRAMS[sys.argv[2]]()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        main()
