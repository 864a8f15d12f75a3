"""fsroute decides where a call goes and sends FreeSWITCH the commands for it."""

__version__ = "0.1.0"
