"""What a signal does to `fsroute serve`. docs/operating.md has the table."""

from __future__ import annotations

import signal

STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
RELOAD = signal.SIGHUP

LEFT_ALONE = frozenset({
    signal.SIGKILL, signal.SIGSTOP,  # nobody can change what they do
    signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS,  # defects
    signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH,  # end no process
    signal.SIGPIPE, signal.SIGXFSZ,  # Python ignores them: the write fails
})  # fmt: skip
"""Signals whose effect fsroute does not change."""

JOB_CONTROL = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
"""They stop the master, when a terminal sends them; the workers serve on."""

IGNORED = frozenset(signal.valid_signals()) - LEFT_ALONE - JOB_CONTROL - STOP - {RELOAD}
"""Each would end a process that does not handle it: SIGUSR1 and SIGUSR2, which log rotation sends, SIGALRM, real-time
signals and others."""
