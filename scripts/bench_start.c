/* bench_start [PROGRAM…]: print the monotonic time in nanoseconds, then become PROGRAM. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    dprintf(STDOUT_FILENO, "STAMP %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    if (argc > 1)
        execvp(argv[1], argv + 1);
    return argc > 1;
}
