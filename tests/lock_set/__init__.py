"""The lock-set test of Jepsen's analysis of etcd."""
