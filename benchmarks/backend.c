/* What does the function do? As little as a server can: it answers HTTP requests and echoes WebSocket messages.
 *
 * One thread, epoll. `backend [PORT]`: listens on 0.0.0.0:$FC_SERVER_PORT as a function has to, or on 127.0.0.1:PORT,
 * where port 0 is any free one. It prints its port. From the environment:
 *
 *   BENCH_CPU      the core to run on
 *   BENCH_LISTENS  a file in which the first one notes when it listened: CLOCK_MONOTONIC, in seconds
 *
 * GET /10m is answered with 10 MiB; anything else with 200 bytes, once the request's body has been read; an upgrade with
 * 101, for the one key that the load client uses. Frames are echoed while they arrive, without a copy of the message.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 * 1024)      /* read and written at a time */
#define LONGEST_HEAD (64 * 1024)
#define LARGE (10 * 1024 * 1024)

enum mode { HEAD, BODY, SIZE, DATA, DATA_END, TRAILER, FRAME, PAYLOAD, DONE };

struct conn {
    int fd;
    enum mode mode;
    int waiting;     /* for the socket to take more; nothing is read meanwhile */
    int closing;     /* shut down once all is written */
    int large;       /* the answer to the request that is being read is the large one */
    int hangs_up;    /* the client wants no further answer on this connection */
    int line;        /* bytes of the current line of a chunked body's trailer */
    int opcode;
    uint64_t left;   /* bytes of the body, chunk or frame that are still to come */
    uint64_t filler; /* bytes of the large answer that are still to be written */
    uint32_t mask, turn;
    char *held;      /* read, but not yet understood: the beginning of a head */
    size_t nheld;
    char *out;       /* to be written */
    size_t nout;
};

static char in[LONGEST_HEAD + CHUNK], out[LONGEST_HEAD + 2 * CHUNK + 4096], filler[CHUNK];
static size_t nout;
static int poller;
static char answer[512], large[256];
static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char refused[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void drop(struct conn *c) {
    close(c->fd);
    free(c->held);
    free(c->out);
    free(c);
}

static void wait_for(struct conn *c, int to_write) {
    if (c->waiting == to_write) return;
    c->waiting = to_write;
    struct epoll_event e = {.events = to_write ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

/* Write all that is to be written, as far as the socket takes it. Returns -1 if the connection is gone. */
static int flush(struct conn *c) {
    while (c->nout || nout || c->filler) {
        const char *from = c->nout ? c->out : nout ? out : filler;
        size_t n = c->nout ? c->nout : nout ? nout : c->filler < CHUNK ? c->filler : CHUNK;
        ssize_t sent = send(c->fd, from, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return -1;
        if (sent < 0) sent = 0;
        if (c->nout) {
            memmove(c->out, c->out + sent, c->nout -= sent);
        } else if (nout) {
            memmove(out, out + sent, nout -= sent);
        } else {
            c->filler -= sent;
        }
        if ((size_t)sent < n) {
            if (nout) { /* the buffer is everybody's */
                c->out = realloc(c->out, c->nout + nout);
                if (!c->out) die("realloc");
                memcpy(c->out + c->nout, out, nout);
                c->nout += nout;
                nout = 0;
            }
            wait_for(c, 1);
            return 0;
        }
    }
    free(c->out);
    c->out = NULL;
    wait_for(c, 0);
    if (c->closing == 1) {
        c->closing = 2;
        shutdown(c->fd, SHUT_WR); /* the end that the server owes after a Close frame (RFC 6455 7.1.1) */
    }
    return 0;
}

static void emit(const char *data, size_t n) {
    memcpy(out + nout, data, n);
    nout += n;
}

static const char *field(const char *head, const char *name) {
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, n) && line[2 + n] == ':') return line + 3 + n + strspn(line + 3 + n, " ");
    return NULL;
}

static void respond(struct conn *c) {
    c->mode = c->hangs_up ? DONE : HEAD;
    c->closing = c->hangs_up;
    if (c->large) {
        emit(large, strlen(large));
        c->filler = LARGE;
    } else {
        emit(answer, strlen(answer));
    }
}

/* Understand a request's head, which ends with a zero in place of its last byte. */
static void request(struct conn *c, const char *head) {
    const char *value, *target = strchr(head, ' ');
    c->large = target && !strncmp(target, " /10m ", 6);
    value = field(head, "Connection");
    c->hangs_up = value && !strncasecmp(value, "close", 5);
    if ((value = field(head, "Upgrade")) && !strncasecmp(value, "websocket", 9)) {
        value = field(head, "Sec-WebSocket-Key");
        if (value && !strncmp(value, "dGhlIHNhbXBsZSBub25jZQ==", 24)) {
            c->mode = FRAME;
            emit(upgraded, sizeof upgraded - 1);
        } else {
            c->mode = DONE;
            c->closing = 1;
            emit(refused, sizeof refused - 1);
        }
    } else if (field(head, "Transfer-Encoding")) {
        c->mode = SIZE;
        c->left = 0;
    } else if ((value = field(head, "Content-Length")) && (c->left = strtoull(value, NULL, 10))) {
        c->mode = BODY;
    } else {
        respond(c);
    }
}

/* The header of a client's frame, if it is there: its length in bytes. It goes back without a mask. */
static size_t frame(struct conn *c, const unsigned char *p, size_t n) {
    if (n < 2) return 0;
    size_t extended = (p[1] & 127) == 126 ? 2 : (p[1] & 127) == 127 ? 8 : 0;
    if (n < 6 + extended) return 0;
    c->left = p[1] & 127;
    if (extended) {
        c->left = 0;
        for (size_t i = 0; i < extended; i++) c->left = c->left << 8 | p[2 + i];
    }
    memcpy(&c->mask, p + 2 + extended, 4);
    c->turn = 0;
    c->opcode = p[0] & 15;
    char header[10] = {(char)(c->opcode == 9 ? (p[0] & 0xf0) | 10 : p[0]), (char)(p[1] & 127)};
    memcpy(header + 2, p + 2, extended);
    emit(header, 2 + extended);
    c->mode = PAYLOAD;
    return 6 + extended;
}

static void unmask(struct conn *c, const char *p, size_t n) {
    char key[8];
    for (int i = 0; i < 8; i++) key[i] = ((char *)&c->mask)[(c->turn + i) & 3];
    uint64_t wide, block;
    memcpy(&wide, key, 8);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&block, p + i, 8);
        block ^= wide;
        memcpy(out + nout + i, &block, 8);
    }
    for (; i < n; i++) out[nout + i] = p[i] ^ key[i & 7];
    nout += n;
    c->turn = (c->turn + n) & 3;
}

/* Understand as much as there is; returns how many bytes that were, or -1 if it makes no sense. */
static ssize_t understand(struct conn *c, char *p, size_t n) {
    size_t at = 0;
    while (at < n || c->mode == PAYLOAD) {
        size_t part = n - at < c->left ? n - at : c->left;
        /* Requests in a row, and small frames: the answers may be longer than what they answer. */
        if (nout > CHUNK && flush(c) < 0) return -1;
        if (c->waiting || c->filler) break;
        switch (c->mode) {
        case HEAD: {
            char *end = memmem(p + at, n - at, "\r\n\r\n", 4);
            if (!end) return n - at > LONGEST_HEAD ? -1 : (ssize_t)at;
            end[3] = 0;
            request(c, p + at);
            at = end + 4 - p;
            break;
        }
        case BODY:
            at += part;
            if (!(c->left -= part)) respond(c);
            break;
        case SIZE: {
            char *end = memchr(p + at, '\n', n - at);
            if (!end) return at;
            c->left = strtoull(p + at, NULL, 16);
            c->mode = c->left ? DATA : TRAILER;
            c->line = 0;
            at = end + 1 - p;
            break;
        }
        case DATA:
            at += part;
            if (!(c->left -= part)) c->mode = DATA_END;
            break;
        case DATA_END:
            if (p[at++] == '\n') c->mode = SIZE;
            break;
        case TRAILER:
            if (p[at] == '\n' && !c->line) respond(c);
            c->line = p[at] == '\n' ? 0 : c->line + (p[at] != '\r');
            at++;
            break;
        case FRAME: {
            size_t size = frame(c, (unsigned char *)p + at, n - at);
            if (!size) return at;
            at += size;
            break;
        }
        case PAYLOAD:
            unmask(c, p + at, part);
            at += part;
            if (!(c->left -= part)) {
                c->mode = c->opcode == 8 ? DONE : FRAME;
                c->closing = c->opcode == 8;
            } else if (at == n) {
                return at;
            }
            break;
        case DONE:
            at = n;
        }
    }
    return at;
}

/* Do what the n bytes in `in` ask for; what is not complete, or has to wait for an answer to be written, is kept. */
static int proceed(struct conn *c, size_t n) {
    free(c->held);
    c->held = NULL;
    for (ssize_t used = 1; n && used && !c->waiting;) {
        used = understand(c, in, n);
        if (used < 0) return -1;
        memmove(in, in + used, n -= used);
        if (flush(c) < 0) return -1;
    }
    c->nheld = n;
    if (n) {
        c->held = malloc(n);
        if (!c->held) die("malloc");
        memcpy(c->held, in, n);
    }
    return 0;
}

static int on_readable(struct conn *c) {
    if (c->nheld) memcpy(in, c->held, c->nheld);
    ssize_t got = recv(c->fd, in + c->nheld, CHUNK, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    return got <= 0 ? -1 : proceed(c, c->nheld + got);
}

static int on_writable(struct conn *c) {
    if (flush(c) < 0) return -1;
    if (c->waiting || !c->nheld) return 0;
    memcpy(in, c->held, c->nheld);
    return proceed(c, c->nheld);
}

static int listening(const char *given) {
    const char *own = getenv("FC_SERVER_PORT");
    const char *port = own ? own : given;
    if (!port) {
        fprintf(stderr, "usage: backend PORT, or FC_SERVER_PORT=PORT backend\n");
        exit(2);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    where.sin_addr.s_addr = htonl(own ? INADDR_ANY : INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&where, sizeof where) || listen(fd, 4096)) die("listen");
    socklen_t size = sizeof where;
    getsockname(fd, (struct sockaddr *)&where, &size);
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    return fd;
}

static void note_time(void) {
    const char *path = getenv("BENCH_LISTENS");
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL, 0600) : -1;
    if (fd >= 0) {
        dprintf(fd, "%ld.%09ld\n", (long)t.tv_sec, t.tv_nsec);
        close(fd);
    }
}

int main(int argc, char **argv) {
    const char *core = getenv("BENCH_CPU");
    if (core) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(atoi(core), &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(filler, 'x', sizeof filler);
    int n = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n");
    memset(answer + n, 'x', 200);
    sprintf(large, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", LARGE);

    int listener = listening(argc > 1 ? argv[1] : NULL);
    note_time();
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) {
                int fd, on = 1;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    c = calloc(1, sizeof *c);
                    if (!c) die("calloc");
                    c->fd = fd;
                    struct epoll_event new = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &new);
                }
                continue;
            }
            nout = 0;
            if ((c->waiting ? on_writable(c) : on_readable(c)) < 0) drop(c);
        }
    }
}
