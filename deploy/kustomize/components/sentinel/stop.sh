#!/bin/sh
# Before a server of a shard stops: a primary hands over to a replica, and no write gets lost on the way, since it takes
# none from here on. The environment is that of start.sh.
set -eu

role() {
  valkey-cli -p "$REDIS_PORT" --raw role | head -n 1
}

[ "$(role)" = master ] || exit 0
valkey-cli -p "$REDIS_PORT" client pause 15000 write
for sentinel in $SENTINELS; do
  if valkey-cli -h "$sentinel" -p "$SENTINEL_PORT" --raw sentinel failover "$SHARD" | grep -q OK; then
    break
  fi
done
# The pause ends with the demotion, and in any case after 15 s.
for _ in $(seq 15); do
  [ "$(role)" = slave ] && exit 0
  sleep 1
done
