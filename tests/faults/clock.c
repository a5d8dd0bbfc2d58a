// Loaded before libc: the time of day goes back and forth by years, and the clock that only goes forward does so by
// another hour at every hundredth look.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static atomic_long looks;
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    long look = atomic_fetch_add(&looks, 1);
    if (clock == CLOCK_REALTIME) now->tv_sec += (look % 3 - 1) * 100000000L;
    if (clock == CLOCK_MONOTONIC) now->tv_sec += look / 100 * 3600;
    return result;
}
