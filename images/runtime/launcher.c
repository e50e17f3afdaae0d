/* The first code of the container: static, reads no file, obeys no variable.
 *
 *   DIR/sandbox-supervisor   (default)   becomes DIR's interpreter running DIR/app/main.py
 *   DIR/bin/python3          (-DBARE)    the same interpreter, bare: what sys.executable names
 *
 * DIR is found through /proc/self/exe, so the tree may stand anywhere. Nothing of the image (its
 * loader, libraries, PATH, environment) has a say in what runs:
 *
 *  - The loader and libraries are DIR's own, named with absolute paths on its command line.
 *  - The environment of the container becomes data: each variable is renamed "@NAME", a name that
 *    no library looks up. A baked-in "@NAME" becomes "@@NAME", so it cannot pose as "NAME".
 *  - The signals that the supervisor forwards are blocked first: PID 1 has no default actions, so
 *    one that comes before a handler stands would be lost. Blocked, it waits.
 *  - Descriptors above 2 are closed, and 0 to 2 are made to exist.
 *
 * BARE is started by our own code, inside what the first launcher made: descriptors and signal mask
 * were chosen by the caller and stay, "@NAME" variables stay as they are.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CANNOT_START = 125, FIRST_UNWANTED_FD = 3 };

/* The loader's file name is what ps and /proc/PID/comm show for the process. */
#define LOADER "/lib/sandbox-supervisor"
#define BARE_PYTHON "/bin/python3"

static _Noreturn void die(const char *what, const char *why)
{
    const char *parts[] = {"sandbox-supervisor: cannot start: ", what, ": ", why, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        (void)!write(STDERR_FILENO, parts[i], strlen(parts[i]));
    _exit(CANNOT_START);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        die("memory", strerror(errno));
    return memory;
}

static char *join(const char *first, const char *second, const char *third)
{
    char *text = allocate(strlen(first) + strlen(second) + strlen(third) + 1, 1);
    return strcat(strcat(strcpy(text, first), second), third);
}

#ifndef BARE
static void block_forwarded_signals(void)
{
    static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++)
        sigaddset(&set, forwarded[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        die("sigprocmask", strerror(errno));
}

/* A missing descriptor 0, 1 or 2 would be taken by the first file that Python opens. */
static void open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            die("/dev/null", strerror(errno));
}

static void close_unwanted_descriptors(void)
{
    if (syscall(SYS_close_range, FIRST_UNWANTED_FD, ~0U, 0) == 0)
        return;
    /* Linux before 5.9, or an old engine's seccomp profile. /proc/self/fd and not RLIMIT_NOFILE:
     * a descriptor may lie above a limit that was lowered after it was opened. */
    DIR *listing = opendir("/proc/self/fd");
    if (!listing)
        die("/proc/self/fd", strerror(errno));
    for (struct dirent *entry; (entry = readdir(listing));) {
        int fd = atoi(entry->d_name);
        if (fd >= FIRST_UNWANTED_FD && fd != dirfd(listing))
            close(fd);
    }
    closedir(listing);
}
#endif

/* DIR: where the tree stands, without a trailing slash. */
static char *find_tree(void)
{
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        die("/proc/self/exe", strerror(errno));
    if (path[0] != '/' || length == sizeof path - 1)
        die(path, "not a usable path");
    /* The loader splits its --library-path at ':' and ';' and expands '$'. */
    if (strpbrk(path, ":;$"))
        die(path, "the runtime cannot stand at a path with ':', ';' or '$'");
    *strrchr(path, '/') = '\0';
#ifdef BARE
    *strrchr(path, '/') = '\0';
#endif
    return path;
}

/* The variables of the new process: ours, then the container's as data. */
static char **build_environment(const char *dir, char **given)
{
    char *ours[] = {
        "SUPERVISOR_LAUNCHED=1",
        join("PATH=", dir, "/none"), /* unset would mean /bin:/usr/bin to Python */
        "LC_ALL=C", /* C.UTF-8 makes libc open the image's locale files; -X utf8 does the rest */
        "TZ=UTC0",
        join("TZDIR=", dir, "/none"),
        join("GCONV_PATH=", dir, "/none"),
        join("OPENSSL_CONF=", dir, "/etc/openssl.cnf"),
        join("OPENSSL_MODULES=", dir, "/lib/ossl-modules"),
        join("OPENSSL_ENGINES=", dir, "/none"),
        join("SSL_CERT_FILE=", dir, "/etc/cert.pem"),
        join("SSL_CERT_DIR=", dir, "/none"),
    };
    enum { OURS = sizeof ours / sizeof *ours };
    size_t count = 0;
    while (given[count])
        count++;
    char **environment = allocate(OURS + count + 1, sizeof *environment), **next = environment;
    for (size_t i = 0; i < OURS; i++)
        *next++ = ours[i];
    for (size_t i = 0; i < count; i++) {
#ifdef BARE
        bool replaced = false; /* inherited from the first launcher: the value is set above */
        for (size_t k = 0; k < OURS; k++)
            replaced |= !strncmp(given[i], ours[k], strcspn(ours[k], "=") + 1);
        if (replaced)
            continue;
        if (given[i][0] == '@') {
            *next++ = given[i];
            continue;
        }
#endif
        *next++ = join("@", given[i], "");
    }
    return environment;
}

static char **build_arguments(const char *dir, int argc, char **argv)
{
    char *head[] = {
        join(dir, LOADER, ""), "--inhibit-cache", "--library-path", join(dir, "/lib", ""),
        "--argv0", join(dir, BARE_PYTHON, ""), join(dir, "/lib/python3.elf", ""),
        /* isolated, no site, no .pyc written, UTF-8, byte-code trusted without a look at sources */
        "-I", "-S", "-B", "-X", "utf8", "--check-hash-based-pycs", "never",
#ifndef BARE
        join(dir, "/app/main.py", ""),
#endif
    };
    enum { HEAD = sizeof head / sizeof *head };
    size_t given = argc > 0 ? (size_t)argc - 1 : 0;
    char **arguments = allocate(HEAD + given + 1, sizeof *arguments);
    memcpy(arguments, head, sizeof head);
    if (given)
        memcpy(arguments + HEAD, argv + 1, given * sizeof *arguments);
    return arguments;
}

int main(int argc, char **argv, char **envp)
{
#ifndef BARE
    block_forwarded_signals();
    open_standard_descriptors();
    close_unwanted_descriptors();
#endif
    char *dir = find_tree();
    char **arguments = build_arguments(dir, argc, argv);
    execve(arguments[0], arguments, build_environment(dir, envp));
    die(arguments[0], strerror(errno));
}
