"""The service on shards that are slow: every script spins for 1 ms in Redis first. Run as `lockservice` is.

So Redis is the bottleneck, whatever else the machine can do, and what more shards bring can be seen.
"""

from typing import Final

from lockservice import cli
from lockservice.shards import script

BUSY_US: Final = 1_000
# By the processor's clock, since what Redis calls TIME stands still while a script runs.
_SPIN: Final = f"""
do
  local began = os.clock()
  repeat until (os.clock() - began) * 1000000 >= {BUSY_US}
end
"""


def main() -> None:
    """Serves with the slow scripts."""
    read = script.read
    script.read = lambda name: read(name) + (_SPIN if name == "seeded" else "")
    cli.run()


if __name__ == "__main__":
    main()
