"""The line to a host: its Hypervisor and the doctor's calls, asked of a helper process that runs there.

Each call has a connection of its own for as long as it takes, and so has each stream of bytes; what carries the
connections (one SSH connection per host, `ssh.py`) interleaves them and holds back whoever reads slowly, so nothing here does.

    FarHost ──call──▶ connections ══ unix socket, forwarded ══▶ helper ──▶ Hypervisor, doctor
"""
