"""A process that has the command line imported, and forks one for each that is asked for.

A fresh interpreter for each takes longer than most of what is tested. Each is a process of its own all the same, with
its own output, directory, environment, exit status and end.

Its argument is the descriptor of a socket of packets. Each is a JSON array of arguments, directory and environment,
and comes with two descriptors, for standard output and error; the answer is the exit status.
"""

import json
import os
import socket
import sys

from monkeywrench.scenarios import __main__, _doctor, _matrix, _queue, _run  # noqa: F401 -- for those that are forked

LONGEST = 1 << 17


def serve(channel: socket.socket) -> bool:
    """Fork whatever is asked for. Return twice or more: False when nobody asks any more, True in each fork."""
    while True:
        packet, descriptors, _, _ = socket.recv_fds(channel, LONGEST, 2)
        if not packet:
            return False
        pid = os.fork()
        if pid == 0:
            channel.close()
            args, directory, environment = json.loads(packet)
            for descriptor, stream in zip(descriptors, (1, 2), strict=True):
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


if __name__ == "__main__" and serve(socket.socket(fileno=int(sys.argv[1]))):
    __main__.main()
