/* How many WebSocket operations per second get through a front, and how long does each take?
 *
 * load echo      HOST PORT NAME SOCKETS SIZE SECONDS   every socket has one message of SIZE bytes under way
 * load handshake HOST PORT NAME SOCKETS 64 SECONDS     each: connect, upgrade, echo, Close frame, end; and again
 * load idle      HOST PORT NAME SOCKETS FIRST SECONDS  opens SOCKETS, and then messages pass on 100 others
 *
 * NAME is the Host header. One thread, epoll. In the order of what happens, each on a line:
 *
 *   idle only: `held FIRST`, waits for a line on stdin; `held SOCKETS`, waits for a line on stdin.
 *   `warm` once all is connected and has run for WARM seconds, and nothing is under way; waits for a line on stdin.
 *   A JSON object, as soon as SECONDS have passed and nothing is under way; waits for the end of stdin.
 *
 * So that whoever measures others' use of time can look exactly before and after: nothing moves while this waits.
 *
 * Every byte of every echo is compared. The first thing that goes wrong is told on stderr, and ends this with 1.
 *
 * Who closes first? The server, as RFC 6455 7.1.1 has it: this waits for the end of the connection behind the Close frame.
 * So TIME_WAIT stays with the server's end of each connection, and no ephemeral port of a client is used up by it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM 0.2
#define AT_ONCE 64    /* handshakes of idle sockets */
#define OTHERS 100
#define LIMIT 150     /* seconds beyond SECONDS after which this ends in any case */
#define BLOCK (256 * 1024)

enum step { CONNECTING, UPGRADING, READY, ECHOING, CLOSING, ENDING, IDLE, GONE };

struct conn {
    int fd;
    enum step step;
    int idles, watches_writing;
    const char *out;  /* still to be sent */
    size_t nout;
    size_t come;      /* bytes of the echo that have come */
    char head[512];   /* of the answer to the upgrade */
    size_t nhead;
    uint64_t began;
};

static int poller, handshaking, under_way, looping, counting, dropped, held;
static struct sockaddr_in where;
static char request[512];
static char *message, *echo, buffer[BLOCK];
static size_t nmessage, necho;
static const char close_frame[] = "\x88\x82\x11\x22\x33\x44\x12\xca"; /* 1000, masked: 03 e8 */
static const char close_echo[] = "\x88\x02\x03\xe8";
static uint32_t *times;
static size_t ntimes, capacity;
static uint64_t deadline;

static void fail(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    vfprintf(stderr, format, rest);
    va_end(rest);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static double used(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void push(struct conn *c) {
    while (c->nout) {
        ssize_t sent = send(c->fd, c->out, c->nout, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) fail("send: %s", strerror(errno));
        c->out += sent;
        c->nout -= sent;
    }
    if (c->watches_writing != (c->nout > 0)) {
        c->watches_writing = c->nout > 0;
        struct epoll_event e = {.events = EPOLLIN | (c->nout ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
    }
}

static void say(struct conn *c, enum step step, const char *data, size_t n) {
    c->step = step;
    c->out = data;
    c->nout = n;
    push(c);
}

static void open_socket(struct conn *c) {
    int idles = c->idles, on = 1;
    memset(c, 0, sizeof *c);
    c->idles = idles;
    c->began = now();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&where, sizeof where) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    c->step = CONNECTING;
    c->watches_writing = 1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
    handshaking++;
    under_way++;
}

static void send_message(struct conn *c) {
    c->come = 0;
    say(c, ECHOING, message, nmessage);
}

static void counted(struct conn *c) {
    uint64_t t = now() - c->began;
    if (!counting) return;
    if (ntimes == capacity) {
        capacity = capacity ? 2 * capacity : 1 << 20;
        times = realloc(times, capacity * sizeof *times);
        if (!times) fail("out of memory");
    }
    times[ntimes++] = t < UINT32_MAX ? t : UINT32_MAX; /* ns; what takes longer than 4.3 s is as bad */
}

/* The socket is at rest, until the next round at least. */
static void rest(struct conn *c, enum step step) {
    c->step = step;
    under_way--;
}

static void next_message(struct conn *c) {
    c->began = now();
    if (c->began < deadline) {
        send_message(c);
    } else {
        rest(c, READY);
    }
}

static void answered(struct conn *c) {
    char *end = memmem(c->head, c->nhead, "\r\n\r\n", 4);
    if (!end) {
        if (c->nhead == sizeof c->head - 1) fail("the answer to an upgrade is too long");
        return;
    }
    if (strncmp(c->head, "HTTP/1.1 101 ", 13)) fail("a handshake was refused: %.*s", (int)c->nhead, c->head);
    if (!strstr(c->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) fail("a handshake has a wrong Sec-WebSocket-Accept");
    if (end + 4 != c->head + c->nhead) fail("bytes that nobody asked for, behind the answer to an upgrade");
    handshaking--;
    if (looping) {
        send_message(c);
    } else if (c->idles) {
        held++;
        rest(c, IDLE);
    } else {
        rest(c, READY);
    }
}

static void came(struct conn *c, const char *data, size_t n) {
    const char *expected = c->step == CLOSING ? close_echo : echo;
    size_t length = c->step == CLOSING ? sizeof close_echo - 1 : necho;
    if (c->step != ECHOING && c->step != CLOSING) fail("bytes that nobody asked for");
    if (n > length - c->come || memcmp(data, expected + c->come, n)) fail("an echo is not what was sent");
    c->come += n;
    if (c->come < length) return;
    c->come = 0;
    if (c->step == CLOSING) {
        c->step = ENDING;
    } else if (looping) {
        say(c, CLOSING, close_frame, sizeof close_frame - 1);
    } else {
        counted(c);
        next_message(c);
    }
}

static void ended(struct conn *c) {
    if (c->step == IDLE) {
        dropped++;
        c->step = GONE;
        close(c->fd);
        return;
    }
    if (c->step != ENDING) fail("a connection ended in step %d", c->step);
    close(c->fd);
    counted(c);
    rest(c, GONE);
    if (now() < deadline) open_socket(c);
}

static void on_event(struct conn *c, uint32_t events) {
    if (c->step == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) fail("connect: %s", strerror(error));
        if (events & EPOLLOUT) say(c, UPGRADING, request, strlen(request));
        return;
    }
    if (events & EPOLLOUT) push(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    int heads = c->step == UPGRADING;
    ssize_t n = heads ? recv(c->fd, c->head + c->nhead, sizeof c->head - 1 - c->nhead, 0)
                      : recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0 && c->step != IDLE) fail("recv: %s", strerror(errno));
    if (n <= 0) {
        ended(c);
    } else if (heads) {
        c->nhead += n;
        answered(c);
    } else {
        came(c, buffer, n);
    }
}

static void turn(int milliseconds) {
    struct epoll_event events[256];
    int ready = epoll_wait(poller, events, 256, milliseconds);
    for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, events[i].events);
}

static void run(struct conn *conns, int n, double seconds) {
    deadline = now() + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < n; i++) {
        if (looping) {
            open_socket(&conns[i]);
        } else {
            under_way++;
            next_message(&conns[i]);
        }
    }
    while (under_way) turn(-1);
}

static void wait_for_line(void) {
    char c;
    do {
        if (read(0, &c, 1) != 1) exit(1); /* whoever started this is gone */
    } while (c != '\n');
}

static void hold(struct conn *conns, int from, int to) {
    for (int i = from; i < to; i++) {
        conns[i].idles = 1;
        open_socket(&conns[i]);
        while (handshaking >= AT_ONCE) turn(-1);
    }
    while (under_way) turn(-1);
    printf("held %d\n", held - dropped);
    fflush(stdout);
    wait_for_line();
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return ntimes ? times[(size_t)((ntimes - 1) * share + 0.5)] / 1e3 : 0;
}

static void prepare(const char *host, const char *name, size_t size) {
    snprintf(request, sizeof request,
             "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", name);
    if (inet_pton(AF_INET, host, &where.sin_addr) != 1) fail("%s is no IPv4 address", host);
    size_t extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
    const unsigned char key[4] = {0x11, 0x22, 0x33, 0x44};
    unsigned char *sent = calloc(1, 14 + size), *back = calloc(1, 10 + size);
    if (!sent || !back) fail("out of memory");
    sent[0] = back[0] = 0x82;
    back[1] = extended == 0 ? size : extended == 2 ? 126 : 127;
    sent[1] = back[1] | 0x80;
    for (size_t i = 0; i < extended; i++) sent[2 + i] = back[2 + i] = size >> 8 * (extended - 1 - i);
    memcpy(sent + 2 + extended, key, 4);
    for (size_t i = 0; i < size; i++) {
        back[2 + extended + i] = (i * 2654435761u) >> 24;
        sent[6 + extended + i] = back[2 + extended + i] ^ key[i & 3];
    }
    message = (char *)sent;
    echo = (char *)back;
    nmessage = 6 + extended + size;
    necho = 2 + extended + size;
}

int main(int argc, char **argv) {
    if (argc != 8) fail("usage: load echo|handshake|idle HOST PORT NAME SOCKETS SIZE SECONDS");
    int idle = !strcmp(argv[1], "idle"), n = atoi(argv[5]), working = idle ? OTHERS : n;
    double seconds = atof(argv[7]);
    looping = !strcmp(argv[1], "handshake");
    alarm(LIMIT + (int)seconds);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    where.sin_family = AF_INET;
    where.sin_port = htons(atoi(argv[3]));
    prepare(argv[2], argv[4], idle ? 64 : strtoul(argv[6], NULL, 10));
    poller = epoll_create1(0);
    struct conn *conns = calloc(n + OTHERS, sizeof *conns), *workers = idle ? conns + n : conns;
    if (!conns) fail("out of memory");

    if (idle) {
        int first = atoi(argv[6]);
        hold(conns, 0, first);
        hold(conns, first, n);
    }
    for (int i = 0; i < working && !looping; i++) {
        open_socket(&workers[i]);
        while (handshaking >= AT_ONCE) turn(-1);
    }
    while (under_way) turn(-1);
    run(workers, working, WARM);
    puts("warm");
    fflush(stdout);
    wait_for_line();

    counting = 1;
    double cpu = used();
    uint64_t began = now();
    run(workers, working, seconds);
    double took = (now() - began) / 1e9;
    cpu = used() - cpu;
    if (idle) turn(0);
    qsort(times, ntimes, sizeof *times, ascending);
    printf("{\"operations\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_seconds\": %.6f, "
           "\"held\": %d, \"dropped\": %d, \"errors\": 0}\n",
           ntimes, took, percentile(0.5), percentile(0.99), cpu, held, dropped);
    fflush(stdout);
    char c;
    while (read(0, &c, 1) > 0) {}
    return 0;
}
