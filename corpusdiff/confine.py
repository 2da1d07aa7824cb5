"""What the process that decodes may not do: it needs files and memory, and a hostile file should find no more.

Everything here holds for the calling process and cannot be undone. What a kernel does not offer is left out and not
reported as held; no run depends on it.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import resource
import struct

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

#: Descriptors that decoding, two passes and the spool can want, with room.
_MOST_FILES = 256

#: AUDIT_ARCH of linux/audit.h by machine.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: System calls that nothing here needs, by machine: x86_64's and aarch64's numbers (asm/unistd.h), None for none.
_FORBIDDEN: dict[str, tuple[int | None, int]] = {
    # the network; without a socket there is nothing to connect, bind or listen on
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    # other programs; threads come by clone, which stays
    "execve": (59, 221),
    "execveat": (322, 281),
    # other processes, and their memory
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # the kernel and the machine
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "open_by_handle_at": (304, 265),
    "fork": (57, -1),
    "vfork": (58, -1),
}

# Classic BPF, as linux/filter.h has it.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4

#: On x86_64 numbers from here on are the x32 ABI's: the same calls by other names.
_X32 = 0x40000000


def confine() -> tuple[str, ...]:
    """Give up what is not needed; names of what holds from now on."""
    held = ["files"] if _limit_files() else []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no-new-privileges")
        if _filter_calls(libc):
            held += ["no-network", "no-programs"]
    return tuple(held)


def _limit_files() -> bool:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
    return True


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _filter_calls(libc: ctypes.CDLL) -> bool:
    """Let the kernel answer EPERM to forbidden calls; False where it cannot, or on another machine."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    column = 0 if machine == "x86_64" else 1
    numbers = [pair[column] for pair in _FORBIDDEN.values() if pair[column] not in {None, -1}]
    code = assembled(_ARCHITECTURES[machine], [number for number in numbers if number is not None])
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def assembled(architecture: int, forbidden: list[int]) -> bytes:
    """A filter in classic BPF: EPERM for these numbers, the end of the process for calls of another architecture.

    Parameters
    ----------
    architecture : AUDIT_ARCH of the calls that the numbers are of
    forbidden : numbers of system calls, at most 250: jumps reach no farther
    """
    n = len(forbidden)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_GREATER, n + 1, 0, _X32),
        *((_JUMP_EQUAL, n - i, 0, number) for i, number in enumerate(forbidden)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


#: Parts of names of environment variables that hold what is secret.
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE")
_SECRET_STARTS = (
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCS_",
    "S3_",
    "SSH_",
    "KUBE",
    "HF_",
    "HUGGING_FACE_",
    "WANDB_",
    "SLURM_JWT",
)


def without_secrets(environ: dict[str, str]) -> dict[str, str]:
    """An environment without what opens doors.

    >>> without_secrets({"PATH": "/bin", "AWS_REGION": "x", "MY_SECRET_KEY": "y", "LANG": "C"})
    {'PATH': '/bin', 'LANG': 'C'}
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(_SECRET_STARTS) and not any(part in name.upper() for part in _SECRET)
    }
