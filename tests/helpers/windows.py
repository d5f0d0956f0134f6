"""Python as it is on Windows, as far as Linux can imitate that: what fails there fails here.

`install()` changes this process for good, so tests start one for it; processes that are spawned from a script
which installs it at its top have it too. It sees what Python calls. It does not see

- what libraries in C++ do by themselves: TensorStore (checkpoints), OpenSlide, XLA, decoders of pictures;
  only files that they keep open are known, and only in this process;
- separators, drives and UNC paths, ACLs, the console's own code page, antivirus programs that hold files;
- `sys.platform` in other packages: ours alone are told `win32`, since most of Python cannot be imported so;
- Ctrl-C to all processes of a console at once, and times of change that are coarser.
"""

import builtins
import ctypes
import errno
import fcntl
import importlib
import io
import locale
import multiprocessing.popen_fork
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import l2s_jax

LONGEST_PATH = 259
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
CODE_PAGE = "cp1252"
GONE = {
    os: ("fork", "forkpty", "setpgrp", "setsid", "sched_getaffinity", "sched_setaffinity", "pread", "pwrite"),
    signal: ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "pthread_sigmask", "alarm", "setitimer"),
}
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
HARD = signal.SIGKILL  # what TerminateProcess is

_real = {
    name: getattr(os, name)
    for name in (
        "open",
        "replace",
        "rename",
        "remove",
        "unlink",
        "rmdir",
        "mkdir",
        "fsync",
        "kill",
        "listdir",
    )
}
_real_open, _real_signal = builtins.open, signal.signal


def install():
    """Makes this process one on Windows. Everything of ours is imported first."""
    _take_away(signal)  # before a module of ours looks for them
    for module in pkgutil.walk_packages(l2s_jax.__path__, "l2s_jax."):
        importlib.import_module(module.name)
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] == "l2s_jax"]
    told = _System("sys")
    for module in ours:
        if vars(module).get("sys") is sys:
            module.sys = told
    for name in ("open", "replace", "rename", "mkdir", "fsync", "kill"):
        setattr(os, name, globals()[f"_{name}"])
    os.remove = os.unlink = _remove
    os.rmdir = _rmdir
    builtins.open = io.open = _open_file
    os.linesep = "\r\n"
    locale.getpreferredencoding = lambda do_setlocale=True: CODE_PAGE
    locale.getencoding = lambda: CODE_PAGE
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile
    signal.signal = _set_handler
    ctypes.CDLL = _library(ctypes.CDLL)
    subprocess.Popen.terminate = subprocess.Popen.kill = lambda self: self.send_signal(HARD)
    ended = lambda self: self._send_signal(HARD)  # noqa: E731
    multiprocessing.popen_fork.Popen.terminate = multiprocessing.popen_fork.Popen.kill = ended
    _take_away(os)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=CODE_PAGE)


def _take_away(module):
    for name in GONE[module]:
        if hasattr(module, name):
            delattr(module, name)


class _System(types.ModuleType):
    """`sys` with another platform."""

    platform = "win32"

    def __getattr__(self, name):
        return getattr(sys, name)


def check_name(path):
    """Refuses a name that no file can have."""
    if isinstance(path, int):
        return
    text = os.path.abspath(os.fsdecode(path))
    for part in Path(text).parts[1:]:
        if FORBIDDEN.search(part) or part[-1] in ". " or RESERVED.fullmatch(part):
            raise OSError(errno.EINVAL, "The filename or directory name is incorrect", text)
    if len(text) > LONGEST_PATH:
        raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified", text)


def check_case(path):
    """Refuses to make a file whose name differs in case alone from another's, which it would be there."""
    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    if not os.path.isdir(folder):
        return
    for other in _real["listdir"](folder):
        if other != name and other.casefold() == name.casefold():
            raise AssertionError(f"on Windows {name} and {other} in {folder} are one file")


def check_closed(path):
    """Refuses what needs nobody to have a file, or one in a folder, open."""
    text = os.path.realpath(os.fsdecode(path))
    for number in _real["listdir"]("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target == text or target.startswith(text + "/"):
            raise PermissionError(
                errno.EACCES, "The process cannot access the file because it is being used", text
            )


def _of_ours(path):
    """Not the interpreter's own files and devices."""
    return not isinstance(path, int) and not os.fsdecode(path).startswith(("/proc", "/dev", "/sys", "/etc"))


def _open(path, flags, *rest, **more):
    if _of_ours(path):
        check_name(path)
        if flags & os.O_CREAT:
            check_case(path)
    return _real["open"](path, flags, *rest, **more)


def _open_file(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest, **more):
    if _of_ours(file):
        check_name(file)
        if set(mode) & set("wax"):
            check_case(file)
        if "b" not in mode:
            encoding = CODE_PAGE if encoding in (None, "locale") else encoding
            newline = "\r\n" if newline is None and set(mode) & set("wax") else newline
    return _real_open(file, mode, buffering, encoding, errors, newline, *rest, **more)


def _replace(source, target, **more):
    check_name(target)
    check_case(target)
    for path in (source, target):
        check_closed(path)
    if os.path.isdir(target):
        raise PermissionError(errno.EACCES, "Access is denied", os.fsdecode(target))
    return _real["replace"](source, target, **more)


def _rename(source, target, **more):
    if os.path.lexists(target):
        text = "Cannot create a file when that file already exists"
        raise FileExistsError(errno.EEXIST, text, os.fsdecode(target))
    check_name(target)
    check_case(target)
    check_closed(source)
    return _real["rename"](source, target, **more)


def _remove(path, **more):
    if more.get("dir_fd") is None:
        check_closed(path)
    return _real["unlink"](path, **more)


def _rmdir(path, **more):
    if more.get("dir_fd") is None:
        check_closed(path)
    return _real["rmdir"](path, **more)


def _mkdir(path, *rest, **more):
    if _of_ours(path):
        check_name(path)
        check_case(path)
    return _real["mkdir"](path, *rest, **more)


def _fsync(file):
    number = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    return _real["fsync"](file)


def _kill(process, number):
    return _real["kill"](process, HARD if number == signal.SIGTERM else number)


def _set_handler(number, handler):
    if number not in SIGNALS:
        raise ValueError("invalid signal value")
    return _real_signal(number, handler)


def _library(real):
    class Library(real):
        def __init__(self, name=None, *rest, **more):
            if name is None:
                raise TypeError("bad argument type for built-in operation")
            super().__init__(name, *rest, **more)

    return Library
