"""The queue: messages between processes over a POSIX named pipe."""
