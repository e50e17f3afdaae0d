/* Resolve a name with this libc's own resolver, connect to port 7 and print what comes back. */
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = count == 2 ? getaddrinfo(words[1], "7", &hints, &found) : EAI_NONAME;
    if (error) {
        puts(gai_strerror(error));
        return 1;
    }
    for (; found; found = found->ai_next) {
        char answer[16] = "";
        int wire = socket(found->ai_family, SOCK_STREAM, 0);
        if (connect(wire, found->ai_addr, found->ai_addrlen) == 0 && write(wire, "hi", 2) == 2 &&
            read(wire, answer, sizeof answer - 1) > 0) {
            puts(answer);
            return 0;
        }
        close(wire);
    }
    puts("no answer");
    return 1;
}
