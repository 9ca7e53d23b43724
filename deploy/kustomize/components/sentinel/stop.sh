#!/bin/sh
# Before a server of a shard stops: a primary hands over to a replica, and no write gets lost on the way, since it takes
# none from here on. The environment is that of start.sh.
set -eu

role() {
  valkey-cli -p "$REDIS_PORT" --raw role | head -n 1
}

# Asks one Sentinel after the other, until one begins. It may refuse for a moment: while it looks at the replicas, or when
# another failover has just been.
begun() {
  for sentinel in $SENTINELS; do
    if timeout 2 valkey-cli -h "$sentinel" -p "$SENTINEL_PORT" --raw sentinel failover "$SHARD" | grep -qx OK; then
      return 0
    fi
  done
  return 1
}

[ "$(role)" = master ] || exit 0
# The pause ends with the demotion, and in any case after 15 s.
valkey-cli -p "$REDIS_PORT" client pause 15000 write
asked=no
for _ in $(seq 15); do
  [ "$asked" = yes ] || { begun && asked=yes; } || true
  sleep 1
  [ "$(role)" = master ] || exit 0
done
