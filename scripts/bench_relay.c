/* The other sides of scripts/bench_relay.py: a splice relay to compare with, sources, sinks,
 * and closed-loop clients. One file, no options beyond what the bench passes.
 *
 *   relay LPORT DPORT              epoll + splice through 1 MiB pipes, one thread
 *   sink  ADDR PORT                accepts, throws away what comes, closes after the end
 *   source PORT MIB STREAMS       sends MIB over STREAMS connections, waits for the ends
 *   echo  ADDR PORT                echoes; also answers "GET" with a fixed 1 KiB response
 *   tunnel ADDR PORT TARGET N S    N clients: connect, CONNECT, 64-byte echo, close, for S seconds
 *   http  ADDR PORT TARGET N S     N clients: GET http://TARGET/ again and again
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)
#define BODY 1024

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &a.sin_addr);
    return a;
}

static int listener(const char *host, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = address(host, port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 1024)) die("listen");
    return fd;
}

static int dial(const char *host, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = address(host, port);
    if (fd < 0 || connect(fd, (void *)&a, sizeof a)) return close(fd), -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* --- relay */

struct flow { int from, to, pipe[2]; long held; int ended; };
struct pair { struct flow up, down; };

static void pump(struct flow *f) {
    for (;;) {
        while (f->held) {
            ssize_t n = splice(f->pipe[0], 0, f->to, 0, f->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n <= 0) return;
            f->held -= n;
        }
        if (f->ended) return;
        ssize_t n = splice(f->from, 0, f->pipe[1], 0, MIB, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0) return;
        if (n == 0) { f->ended = 1; shutdown(f->to, SHUT_WR); return; }
        f->held = n;
    }
}

static struct flow flow(int from, int to) {
    struct flow f = {.from = from, .to = to};
    if (pipe2(f.pipe, O_NONBLOCK)) die("pipe");
    fcntl(f.pipe[1], F_SETPIPE_SZ, MIB);
    fcntl(from, F_SETFL, O_NONBLOCK);
    return f;
}

static void relay(int lport, int dport) {
    int ep = epoll_create1(0), lfd = listener("127.0.0.1", lport);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, got[64];
    epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &e);
    for (;;) {
        int n = epoll_wait(ep, got, 64, -1);
        for (int i = 0; i < n; i++) {
            struct pair *p = got[i].data.ptr;
            if (!p) {
                int c = accept(lfd, 0, 0), u = dial("127.0.0.1", dport);
                p = calloc(1, sizeof *p);
                p->up = flow(c, u);
                p->down = flow(u, c);
                e = (struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = p}};
                epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
                epoll_ctl(ep, EPOLL_CTL_ADD, u, &e);
                continue;
            }
            if (p->up.from < 0) continue;
            pump(&p->up);
            pump(&p->down);
            if (p->up.ended && p->down.ended && !p->up.held && !p->down.held) {
                close(p->up.from), close(p->down.from);
                close(p->up.pipe[0]), close(p->up.pipe[1]);
                close(p->down.pipe[0]), close(p->down.pipe[1]);
                p->up.from = -1; /* a late event of the same batch finds it closed; leaks 80 bytes */
            }
        }
    }
}

/* --- bulk */

static void sink(const char *host, int port) {
    int lfd = listener(host, port);
    for (;;) {
        int c = accept(lfd, 0, 0);
        if (fork() == 0) {
            while (recv(c, 0, 1 << 30, MSG_TRUNC) > 0) {}
            _exit(0);
        }
        close(c);
        while (waitpid(-1, 0, WNOHANG) > 0) {}
    }
}

static void source(int port, long mib, int streams) {
    static char block[256 * 1024];
    double start = now();
    for (int i = 0; i < streams; i++)
        if (fork() == 0) {
            int fd = dial("127.0.0.1", port);
            if (fd < 0) die("connect");
            for (long left = mib * MIB / streams; left > 0;) {
                ssize_t n = write(fd, block, left < (long)sizeof block ? left : (long)sizeof block);
                if (n <= 0) die("write");
                left -= n;
            }
            shutdown(fd, SHUT_WR);
            char c;
            if (read(fd, &c, 1) != 0) die("end");
            _exit(0);
        }
    int status, bad = 0;
    while (wait(&status) > 0) bad += status != 0;
    if (bad) exit(1);
    printf("%f\n", now() - start);
}

/* --- echo and 1 KiB responses */

static void echo(const char *host, int port) {
    static char response[BODY + 256], buffer[65536];
    int head = sprintf(response, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\n"
                                 "Content-Length: %d\r\n\r\n", BODY);
    memset(response + head, 'x', BODY);
    int ep = epoll_create1(0), lfd = listener(host, port), one = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = lfd}, got[64];
    epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &e);
    for (;;) {
        int n = epoll_wait(ep, got, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;
            if (fd == lfd) {
                e = (struct epoll_event){EPOLLIN, {.fd = accept(lfd, 0, 0)}};
                setsockopt(e.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e);
                continue;
            }
            ssize_t m = read(fd, buffer, sizeof buffer);
            if (m <= 0) { close(fd); continue; }
            if (m > 3 && !memcmp(buffer, "GET", 3)) m = write(fd, response, head + BODY);
            else m = write(fd, buffer, m);
            if (m < 0) close(fd);
        }
    }
}

/* --- closed-loop clients: one process each, latencies collected over pipes */

static int read_head(int fd, char *buffer, int room) {
    int used = 0;
    while (used < room - 1) {
        ssize_t n = read(fd, buffer + used, room - 1 - used);
        if (n <= 0) return -1;
        used += n;
        buffer[used] = 0;
        if (strstr(buffer, "\r\n\r\n")) return used;
    }
    return -1;
}

static int one_tunnel(const char *host, int port, const char *request) {
    char buffer[4096], ping[64] = "ping";
    int fd = dial(host, port), got = 0;
    if (fd < 0) return -1;
    if (*request) {
        if (write(fd, request, strlen(request)) < 0 || read_head(fd, buffer, sizeof buffer) < 0 ||
            strncmp(buffer + 9, "200", 3)) return close(fd), -1;
    }
    if (write(fd, ping, sizeof ping) < 0) return close(fd), -1;
    while (got < (int)sizeof ping) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0) return close(fd), -1;
        got += n;
    }
    return close(fd), 0;
}

static int one_request(int fd, const char *request) {
    char buffer[8192], *body;
    if (write(fd, request, strlen(request)) < 0) return -1;
    int used = read_head(fd, buffer, sizeof buffer);
    if (used < 0 || strncmp(buffer + 9, "200", 3)) return -1;
    body = strstr(buffer, "\r\n\r\n") + 4;
    for (int left = BODY - (used - (body - buffer)); left > 0;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0) return -1;
        left -= n;
    }
    return 0;
}

static int by_value(const void *a, const void *b) {
    float d = *(const float *)a - *(const float *)b;
    return (d > 0) - (d < 0);
}

static void clients(const char *host, int port, const char *target, int count, double seconds, int http) {
    char request[512] = "";
    if (http)
        sprintf(request, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", target, target);
    else if (strcmp(target, "-"))
        sprintf(request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target);
    int out[2];
    if (pipe(out)) die("pipe");
    for (int i = 0; i < count; i++)
        if (fork() == 0) {
            static float took[4000000];
            long n = 0, errors = 0;
            int fd = http ? dial(host, port) : 0;
            double end = now() + seconds;
            while (now() < end) {
                double start = now();
                int bad = http ? one_request(fd, request) : one_tunnel(host, port, request);
                if (bad) { errors++; if (http) { close(fd); fd = dial(host, port); } continue; }
                took[n++] = now() - start;
            }
            FILE *f = fdopen(out[1], "w");
            static char text[64];
            /* one line for the count, then the latencies: whole lines below PIPE_BUF do not mix */
            for (long k = 0; k < n; k++) {
                int len = sprintf(text, "%.1f\n", took[k] * 1e6);
                if (write(out[1], text, len) < 0) die("pipe");
            }
            sprintf(text, "e%ld\n", errors);
            if (write(out[1], text, strlen(text)) < 0) die("pipe");
            (void)f;
            _exit(0);
        }
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    static float all[8000000];
    long n = 0, errors = 0;
    char line[64];
    while (fgets(line, sizeof line, in))
        if (line[0] == 'e') errors += atol(line + 1);
        else all[n++] = atof(line);
    while (wait(0) > 0) {}
    qsort(all, n, sizeof *all, by_value);
    printf("%f %f %f %ld\n", n / seconds, n ? all[n / 2] : 0, n ? all[n * 99 / 100] : 0, errors);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    if (!strcmp(argv[1], "relay")) relay(atoi(argv[2]), atoi(argv[3]));
    if (!strcmp(argv[1], "sink")) sink(argv[2], atoi(argv[3]));
    if (!strcmp(argv[1], "echo")) echo(argv[2], atoi(argv[3]));
    if (!strcmp(argv[1], "source")) source(atoi(argv[2]), atol(argv[3]), atoi(argv[4]));
    if (!strcmp(argv[1], "tunnel"))
        clients(argv[2], atoi(argv[3]), argv[4], atoi(argv[5]), atof(argv[6]), 0);
    if (!strcmp(argv[1], "http"))
        clients(argv[2], atoi(argv[3]), argv[4], atoi(argv[5]), atof(argv[6]), 1);
    return 0;
}
