#!/bin/sh
# Starts a server of a shard in the role that Sentinel gives it: the primary, or a replica of that. It waits until two of
# the Sentinels agree, for one alone may not have heard of a failover yet.
#
# SERVER    this server's name, which the others can look up
# SHARD     the shard's name at Sentinel
# SENTINELS names of the three
# SENTINEL_PORT, REDIS_PORT, CONFIG
set -eu

agreed() {
  for sentinel in $SENTINELS; do
    timeout 2 valkey-cli -h "$sentinel" -p "$SENTINEL_PORT" --raw sentinel get-master-addr-by-name "$SHARD" 2>/dev/null |
      paste -s -d ' ' -
  done | sort | uniq -c | awk '$1 >= 2 && NF == 3 { print $2, $3 }'
}

primary=$(agreed)
until [ -n "$primary" ]; do
  echo "waiting for two Sentinels that agree on the primary of $SHARD"
  sleep 1
  primary=$(agreed)
done

set -- "$CONFIG" --port "$REDIS_PORT" --replica-announce-ip "$SERVER"
if [ "$primary" != "$SERVER $REDIS_PORT" ]; then
  set -- "$@" --replicaof "$primary"
fi
exec valkey-server "$@"
