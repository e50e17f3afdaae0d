/* int80 NUMBER: make an i386 system call from a 64-bit program; with NUMBER 0, none at all.
 * The result, as the kernel left it, is the exit status. */
#include <stdlib.h>

int main(int argc, char **argv)
{
    long number = argc > 1 ? atol(argv[1]) : 0, result = 0;
    if (number)
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory");
    return (int)(result & 0x7f);
}
