/* Preloaded into one process: its system clock, and the time it believes to have slept, are what two numbers say.
 *
 * The file named by CLOCK_SHIFT holds two int64, ns: added to CLOCK_REALTIME, and to CLOCK_BOOTTIME. The monotonic clocks
 * stay as they are, as they do when the system clock is set.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shifts;

__attribute__((constructor)) static void map_shifts(void) {
    const char *path = getenv("CLOCK_SHIFT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) shifts = mapped;
}

static void shift(struct timespec *time, int64_t by_ns) {
    int64_t ns = time->tv_sec * 1000000000LL + time->tv_nsec + by_ns;
    time->tv_sec = ns / 1000000000LL;
    time->tv_nsec = ns % 1000000000LL;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (failed || !shifts) return failed;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) shift(time, shifts[0]);
    if (clock == CLOCK_BOOTTIME) shift(time, shifts[1]);
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
