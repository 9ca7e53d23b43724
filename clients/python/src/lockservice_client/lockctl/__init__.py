"""The command `lockctl`: leases and event keys from a shell, and a look at the service for operators."""

from lockservice_client.lockctl.calls import main
from lockservice_client.lockctl.doctor import doctor
from lockservice_client.lockctl.run import run
from lockservice_client.lockctl.top import top
from lockservice_client.lockctl.watch import shards, version

__all__ = ["main"]

for _command in (run, shards, top, doctor, version):
    main.add_command(_command)
