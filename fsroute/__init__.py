"""fsroute decides where a call goes and what FreeSWITCH is told about it."""

__version__ = "0.1.0"
