/* Preloaded into a process, moves what it takes for the time of day by an offset that may change while it runs.
 *
 * The offset, in nanoseconds, is an int64 in the file named by CLOCK_SHIM_FILE, which is mapped and never read.
 * Only the clock of the day moves; the monotonic clocks, timers and the times of files stay as they are.
 * Time comes by system call: to look for libc's own function would allocate, and redis-server's jemalloc asks for
 * the time while it starts. Before the constructor has run the offset is 0.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t NS_PER_S = 1000000000;
static const _Atomic int64_t *offset_ns;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("CLOCK_SHIM_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        abort();
    void *mapped = mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED)
        abort();
    offset_ns = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || !offset_ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return failed;
    int64_t moved = now->tv_sec * NS_PER_S + now->tv_nsec + atomic_load(offset_ns);
    now->tv_sec = moved / NS_PER_S;
    now->tv_nsec = moved % NS_PER_S;
    return 0;
}

/* The zone is obsolete, and nobody asks for it. */
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *stored) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (stored)
        *stored = precise.tv_sec;
    return precise.tv_sec;
}
