/**
 * The Java client of lockservice: leases, ordering and deduplication for workers that share entities. Begin with {@link
 * dev.lockservice.client.Client}.
 */
package dev.lockservice.client;
