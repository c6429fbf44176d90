/* A long wire in user space: each listening port leads to a port of 127.0.0.1, later and slower.
 *
 *     forwarder COUNTS RTT_MICROSECONDS BYTES_A_SECOND apart|shared PORT...
 *
 * How it thinks: a chunk that was read gets the moment at which it is due at the other side. On the way up that
 * is half a round trip later; a connection's first bytes wait one round trip more, which is what connect()
 * would have cost. On the way down a chunk first takes its place on the link, of which there is one a
 * connection (apart) or one for all (shared). Nothing is read before the link has room for it, so a reader who
 * leaves early has not drained the server. There is no slow start, no loss and no jitter.
 *
 * What must always be true: bytes arrive in order and unchanged, and never sooner than the link allows.
 * COUNTS is a file of three numbers a port, mapped: connections, bytes up, bytes down (as delivered).
 * It prints the ports it listens on, one a line, in the order of its targets, and ends when its input ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 16 * 1024,      /* bytes: 1.3 ms at 100 Mbit/s, small beside a round trip */
    WINDOW = 4 << 20,       /* bytes held for a reader who does not read, as a receive window would */
    BUFFER = 128 * 1024,    /* bytes the kernel may hold on either side, beside our own queue */
    PORTS = 16,
    PAIRS = 512,            /* connections at a time */
};
static const int64_t SLACK = 20000000; /* ns of the link promised ahead: a late wake-up on a busy machine loses no rate */

struct chunk { struct chunk *next; int64_t due; int size, sent; char bytes[CHUNK]; };
struct way { int from, to, ended, done; int64_t end_due; long held; struct chunk *first, *last; };
struct pair { struct way up, down; int64_t opened, link; uint64_t *counts; };

static int64_t trip, rate, shared_link;
static int shared;
static struct pair *pairs[PAIRS];
static int pair_count;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t later(int64_t one, int64_t other) { return one > other ? one : other; }

static void tune(int fd) {
    int yes = 1, size = BUFFER;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static struct sockaddr_in here(int port) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return place;
}

static int listen_anywhere(void) {
    struct sockaddr_in place = here(0);
    socklen_t size = sizeof place;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&place, size) || listen(fd, 256)) { perror("listen"); exit(1); }
    getsockname(fd, (struct sockaddr *)&place, &size);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    printf("%d\n", ntohs(place.sin_port));
    return fd;
}

static void welcome(int listener, int target, uint64_t *counts) {
    struct sockaddr_in place = here(target);
    int size = BUFFER, client = accept(listener, NULL, NULL);
    if (client < 0) return;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(server, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (pair_count == PAIRS || connect(server, (struct sockaddr *)&place, sizeof place)) {
        close(client);
        close(server);
        return;
    }
    tune(client);
    tune(server);
    struct pair *pair = calloc(1, sizeof *pair);
    pair->up.from = pair->down.to = client;
    pair->up.to = pair->down.from = server;
    pair->opened = now_ns() + trip;
    pair->counts = counts;
    counts[0]++;
    pairs[pair_count++] = pair;
}

static void forget(int index) {
    struct pair *pair = pairs[index];
    struct way *ways[] = {&pair->up, &pair->down};
    for (int i = 0; i < 2; i++)
        for (struct chunk *chunk = ways[i]->first, *next; chunk; chunk = next) { next = chunk->next; free(chunk); }
    close(pair->up.from);
    close(pair->up.to);
    free(pair);
    pairs[index] = pairs[--pair_count];
}

/* Take one chunk in and say when it is due; -1 if the connection broke. */
static int take(struct pair *pair, struct way *way) {
    int64_t now = now_ns(), *link = shared ? &shared_link : &pair->link;
    struct chunk *chunk = malloc(sizeof *chunk);
    int size = recv(way->from, chunk->bytes, CHUNK, 0);
    if (size <= 0) {
        int quiet = size < 0 && (errno == EAGAIN || errno == EINTR);
        free(chunk);
        if (size < 0) return quiet ? 0 : -1;
        way->ended = 1;
        way->end_due = later(now + trip / 2, way->last ? way->last->due : 0);
        return 0;
    }
    int64_t sent = later(now, pair->opened);
    if (way == &pair->down) sent = *link = later(now, *link) + size * 1000000000LL / rate;
    chunk->due = sent + trip / 2;
    chunk->next = NULL;
    chunk->size = size;
    chunk->sent = 0;
    if (way->last) way->last->next = chunk; else way->first = chunk;
    way->last = chunk;
    way->held += size;
    return 0;
}

/* Hand over what is due; -1 if the connection broke. */
static int deliver(struct pair *pair, struct way *way, int64_t now) {
    while (way->first && way->first->due <= now) {
        struct chunk *chunk = way->first;
        int size = send(way->to, chunk->bytes + chunk->sent, chunk->size - chunk->sent, MSG_NOSIGNAL);
        if (size < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        pair->counts[way == &pair->up ? 1 : 2] += size;
        way->held -= size;
        chunk->sent += size;
        if (chunk->sent < chunk->size) return 0;
        way->first = chunk->next;
        if (!way->first) way->last = NULL;
        free(chunk);
    }
    if (way->ended && !way->done && !way->first && way->end_due <= now) {
        shutdown(way->to, SHUT_WR);
        way->done = 1;
    }
    return 0;
}

/* Say what a way waits for: events in `polled`, or a moment. */
static int64_t await(struct pair *pair, struct way *way, int64_t now, struct pollfd *polled, int *count) {
    int64_t moment = INT64_MAX, link = shared ? shared_link : pair->link;
    if (!way->ended && way->held < WINDOW) {
        if (way == &pair->up || link <= now + SLACK)
            polled[(*count)++] = (struct pollfd){.fd = way->from, .events = POLLIN};
        else
            moment = link - SLACK;
    }
    if (way->first && way->first->due <= now)
        polled[(*count)++] = (struct pollfd){.fd = way->to, .events = POLLOUT};
    else if (way->first)
        moment = way->first->due < moment ? way->first->due : moment;
    else if (way->ended && !way->done)
        moment = way->end_due < moment ? way->end_due : moment;
    return moment;
}

static int readable(struct pollfd *polled, int count, int fd) {
    for (int i = 0; i < count; i++)
        if (polled[i].fd == fd && polled[i].events == POLLIN && polled[i].revents) return 1;
    return 0;
}

int main(int argc, char **argv) {
    static struct pollfd polled[1 + PORTS + 4 * PAIRS];
    int ports = argc - 5, listeners[PORTS];
    if (ports < 1 || ports > PORTS) return 2;
    trip = atoll(argv[2]) * 1000;
    rate = atoll(argv[3]);
    shared = !strcmp(argv[4], "shared");
    signal(SIGPIPE, SIG_IGN);
    int file = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, ports * 24)) { perror(argv[1]); return 1; }
    uint64_t *counts = mmap(NULL, ports * 24, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (int i = 0; i < ports; i++) listeners[i] = listen_anywhere();
    fflush(stdout);
    for (;;) {
        int64_t now = now_ns(), moment = INT64_MAX;
        int count = 0;
        polled[count++] = (struct pollfd){.fd = 0, .events = POLLIN};
        for (int i = 0; i < ports; i++) polled[count++] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
        for (int i = pair_count - 1; i >= 0; i--) {
            struct pair *pair = pairs[i];
            if (deliver(pair, &pair->up, now) || deliver(pair, &pair->down, now) ||
                (pair->up.done && pair->down.done)) { forget(i); continue; }
            int64_t up = await(pair, &pair->up, now, polled, &count);
            int64_t down = await(pair, &pair->down, now, polled, &count);
            if (up < moment) moment = up;
            if (down < moment) moment = down;
        }
        int64_t pause = moment == INT64_MAX ? 1000000000LL : later(moment - now_ns(), 0);
        struct timespec limit = {pause / 1000000000LL, pause % 1000000000LL};
        if (ppoll(polled, count, &limit, NULL) <= 0) continue;
        if (polled[0].revents) return 0;
        for (int i = pair_count - 1; i >= 0; i--) {
            struct pair *pair = pairs[i];
            if ((readable(polled, count, pair->up.from) && take(pair, &pair->up)) ||
                (readable(polled, count, pair->down.from) && take(pair, &pair->down))) forget(i);
        }
        for (int i = 0; i < ports; i++)
            if (polled[1 + i].revents) welcome(listeners[i], atoi(argv[5 + i]), counts + 3 * i);
    }
}
