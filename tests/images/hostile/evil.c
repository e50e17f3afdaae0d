/* Everything hostile that can be executed. As a library (-shared) it speaks when it is loaded, as a
 * program when it is run. NAME says under which trick. */
#include <string.h>
#include <unistd.h>

#ifndef NAME
#error "compile with -DNAME"
#endif
static const char said[] = "EVIL " NAME "\n";

#ifdef __PIC__
__attribute__((constructor)) static void loaded(void)
{
    (void)!write(STDERR_FILENO, said, sizeof said - 1);
}

/* auditing, NSS, OpenSSL and iconv entry points: one look-up further than being mapped */
unsigned la_version(unsigned version) { return version; }
int OSSL_provider_init(void) { loaded(); return 0; }
int gconv_init(void *step) { (void)step; loaded(); return 0; }
#else
int main(int argc, char **argv)
{
    (void)!write(STDERR_FILENO, said, sizeof said - 1);
    if (argc > 0)
        (void)!write(STDERR_FILENO, argv[0], strlen(argv[0]));
    return 0;
}
#endif
