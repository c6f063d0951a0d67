/* SPDX-License-Identifier: MIT
 *
 * Addresses of hosts: as text, compared, and those that this one has.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys/socket.h"

/* The bytes of an address, 4 or 16; 0: it is none of these. IPv4 written as IPv6 is IPv4. */
static size_t host_bytes(const struct sys_address *address, uint8_t ret_bytes[16]) {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    sa_family_t family;

    memcpy(&family, address->bytes, sizeof(family));
    if (family == AF_INET) {
        memcpy(&v4, address->bytes, sizeof(v4));
        memcpy(ret_bytes, &v4.sin_addr, 4);
        return 4;
    }
    if (family != AF_INET6)
        return 0;
    memcpy(&v6, address->bytes, sizeof(v6));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        memcpy(ret_bytes, v6.sin6_addr.s6_addr + 12, 4);
        return 4;
    }
    memcpy(ret_bytes, &v6.sin6_addr, 16);
    return 16;
}

char *sys_address_text(const struct sys_address *address, char buffer[SYS_ADDRESS_TEXT]) {
    char host[INET6_ADDRSTRLEN] = "?";
    uint8_t bytes[16];
    size_t size = host_bytes(address, bytes);

    if (size == 0) {
        (void) snprintf(buffer, SYS_ADDRESS_TEXT, "local");
        return buffer;
    }
    (void) inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, host, sizeof(host));
    (void) snprintf(buffer, SYS_ADDRESS_TEXT, size == 4 ? "%s:%u" : "[%s]:%u", host,
                    sys_address_port(address));
    return buffer;
}

bool sys_address_same_host(const struct sys_address *a, const struct sys_address *b) {
    uint8_t first[16], second[16];
    size_t size = host_bytes(a, first);

    return size > 0 && size == host_bytes(b, second) && memcmp(first, second, size) == 0;
}

/* How many bits at its start are 1. */
static uint32_t mask_bits(const struct sockaddr *mask) {
    struct sys_address address = { 0 };
    uint8_t bytes[16];
    uint32_t bits = 0;
    size_t size;

    if (!mask)
        return 0;
    memcpy(address.bytes, mask,
           mask->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    size = host_bytes(&address, bytes);
    while (bits < 8 * size && (bytes[bits / 8] & 0x80 >> bits % 8))
        bits++;
    return bits;
}

int sys_interfaces(struct sys_interface *ret_interfaces, int max) {
    struct ifaddrs *all;
    int count = 0;

    if (getifaddrs(&all) < 0)
        return -errno;
    for (struct ifaddrs *one = all; one && count < max; one = one->ifa_next) {
        struct sys_interface *to = &ret_interfaces[count];

        if (!one->ifa_addr || !(one->ifa_flags & IFF_UP) ||
            (one->ifa_addr->sa_family != AF_INET && one->ifa_addr->sa_family != AF_INET6))
            continue;
        *to = (struct sys_interface){ .bits = mask_bits(one->ifa_netmask) };
        (void) snprintf(to->name, sizeof(to->name), "%s", one->ifa_name);
        to->address.size = one->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                               : sizeof(struct sockaddr_in6);
        memcpy(to->address.bytes, one->ifa_addr, to->address.size);
        count++;
    }
    freeifaddrs(all);
    return count;
}

bool sys_interface_has(const struct sys_interface *interface, const struct sys_address *address) {
    uint8_t ours[16], theirs[16];
    size_t size = host_bytes(&interface->address, ours);

    if (size == 0 || size != host_bytes(address, theirs) || interface->bits == 0)
        return false;
    for (uint32_t bit = 0; bit < interface->bits && bit < 8 * size; bit++)
        if ((ours[bit / 8] ^ theirs[bit / 8]) & 0x80 >> bit % 8)
            return false;
    return true;
}

void sys_host_name(char *buffer, size_t size) {
    buffer[0] = '\0';
    (void) gethostname(buffer, size); /* cut to fit */
    buffer[size - 1] = '\0';
    buffer[strcspn(buffer, ".")] = '\0';
}
