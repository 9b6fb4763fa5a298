/* A switch between TUN devices, for kernels without netem: packets leave to a port at a rate, and arrive a delay later.
 *
 *     link BITS_PER_SECOND SECONDS DEVICE ADDRESS [DEVICE ADDRESS ...]
 *
 * Makes the devices, says "ready", and forwards IPv4 packets by destination until it is killed; then it says how many,
 * and how many it has dropped. Each port has a queue of its own, in which packets wait for those before them: it is the
 * link from the switch to the device. The other direction is not limited here, but by a qdisc of the device, as only
 * that one can make TCP wait. The delay is one-way, from any device to any other.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PORTS = 64, SLOTS = 1024, LARGEST = 32768, BURST = 64 };

struct packet {
    double due;
    size_t length;
    unsigned char bytes[LARGEST];
};

struct port {
    int device;
    uint32_t address;
    double free; /* when the last packet of the queue has left */
    unsigned first, waiting;
    struct packet *queue;
};

static struct port ports[PORTS];
static int count;
static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void open_port(struct port *port, const char *name, const char *address) {
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (inet_pton(AF_INET, address, &port->address) != 1) {
        fprintf(stderr, "%s is not an IPv4 address\n", address);
        exit(1);
    }
    if ((port->device = open("/dev/net/tun", O_RDWR | O_NONBLOCK)) < 0) fail("/dev/net/tun");
    if (ioctl(port->device, TUNSETIFF, &request) < 0) fail(name);
    if (!(port->queue = calloc(SLOTS, sizeof(struct packet)))) fail("queue");
}

/* Put a packet into the queue of the port that it is for; return how many were dropped. */
static int enqueue(const unsigned char *bytes, size_t length, double rate, double delay) {
    uint32_t address;
    if (length < 20 || bytes[0] >> 4 != 4) return 0; /* IPv6 asks for routers */
    memcpy(&address, bytes + 16, sizeof address);
    for (struct port *port = ports; port < ports + count; port++) {
        if (port->address != address) continue;
        if (port->waiting == SLOTS) return 1;
        struct packet *packet = port->queue + (port->first + port->waiting++) % SLOTS;
        double time = now();
        port->free = (time > port->free ? time : port->free) + 8 * (double)length / rate;
        packet->due = port->free + delay;
        packet->length = length;
        memcpy(packet->bytes, bytes, length);
        return 0;
    }
    return 0; /* to nobody: multicast */
}

/* Deliver what is due; return seconds until the next packet is, or 1. */
static double deliver(void) {
    double next = 1;
    for (struct port *port = ports; port < ports + count; port++)
        while (port->waiting) {
            struct packet *packet = port->queue + port->first;
            double left = packet->due - now();
            if (left > 0) {
                next = left < next ? left : next;
                break;
            }
            if (write(port->device, packet->bytes, packet->length) < 0 && errno == EAGAIN) return 1e-4;
            port->first = (port->first + 1) % SLOTS; /* other errors: the device is down */
            port->waiting--;
        }
    return next;
}

int main(int argc, char **argv) {
    double rate = argc > 2 ? atof(argv[1]) : 0, delay = argc > 2 ? atof(argv[2]) : -1;
    if (argc < 5 || argc % 2 == 0 || argc > 3 + 2 * PORTS || rate <= 0 || delay < 0) {
        fprintf(stderr, "usage: link BITS_PER_SECOND SECONDS DEVICE ADDRESS [DEVICE ADDRESS ...]\n");
        return 2;
    }
    struct pollfd polled[PORTS];
    for (count = 0; 3 + 2 * count < argc; count++) {
        open_port(ports + count, argv[3 + 2 * count], argv[4 + 2 * count]);
        polled[count] = (struct pollfd){.fd = ports[count].device, .events = POLLIN};
    }
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    /* Ahead of what computes, or packets would arrive when a core is free; if that is not allowed, they do. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    puts("ready");
    fflush(stdout);
    unsigned char bytes[LARGEST];
    long packets = 0, dropped = 0;
    while (!stopped) {
        double next = deliver();
        struct timespec wait = {.tv_sec = (time_t)next, .tv_nsec = (long)(1e9 * (next - (double)(time_t)next))};
        if (ppoll(polled, (nfds_t)count, &wait, NULL) < 0) {
            if (errno != EINTR) fail("ppoll");
            continue;
        }
        for (int at = 0; at < count; at++) {
            for (int left = polled[at].revents & POLLIN ? BURST : 0; left; left--) {
                ssize_t length = read(ports[at].device, bytes, sizeof bytes);
                if (length <= 0) break;
                dropped += enqueue(bytes, (size_t)length, rate, delay);
                packets++;
            }
        }
    }
    double busy = (double)clock() / CLOCKS_PER_SEC;
    fprintf(stderr, "link: %ld packets, %ld dropped, %.1f s of CPU time\n", packets, dropped, busy);
    return 0;
}
