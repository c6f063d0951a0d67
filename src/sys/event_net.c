/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/event.h"

int sys_net_watch(void) {
    struct sockaddr_nl name = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *) &name, sizeof(name)) < 0) {
        int rc = -errno;

        (void) close(fd);
        return rc;
    }
    return fd;
}

static bool is_up(struct nlmsghdr *head) {
    if (head->nlmsg_type == RTM_NEWADDR)
        return true;
    return head->nlmsg_type == RTM_NEWLINK &&
           ((struct ifinfomsg *) NLMSG_DATA(head))->ifi_flags & IFF_LOWER_UP;
}

bool sys_net_news(int fd) {
    union {
        struct nlmsghdr first;
        char bytes[8192];
    } buffer;
    bool up = false;
    ssize_t got;

    while ((got = recv(fd, &buffer, sizeof(buffer), 0)) > 0 || (got < 0 && errno == ENOBUFS)) {
        size_t left = got > 0 ? (size_t) got : 0;

        up |= got < 0; /* some of it was lost */
        for (struct nlmsghdr *head = &buffer.first; NLMSG_OK(head, left);
             head = NLMSG_NEXT(head, left))
            up |= is_up(head);
    }
    return up;
}
