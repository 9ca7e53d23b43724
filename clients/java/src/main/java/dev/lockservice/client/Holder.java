package dev.lockservice.client;

import java.time.Duration;

/**
 * Who holds a resource.
 *
 * @param owner who that is, for people and tools
 * @param fencingToken that of the lease
 * @param remaining how long the lease still lasts, unless it is renewed
 */
public record Holder(String owner, long fencingToken, Duration remaining) {}
