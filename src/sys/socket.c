/* SPDX-License-Identifier: MIT */
#include "sys/socket.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sys/cleanup.h"

static_assert(sizeof(struct sockaddr_un) <= sizeof(((struct sys_address *) NULL)->bytes), "room");
static_assert(sizeof(struct sockaddr_in6) <= sizeof(((struct sys_address *) NULL)->bytes), "room");
static_assert(SYS_PATH_MAX + 1 == sizeof(((struct sockaddr_un *) NULL)->sun_path), "room");

static const struct sockaddr *plain(const struct sys_address *address) {
    return (const struct sockaddr *) address->bytes;
}

/* ---- addresses ------------------------------------------------------------------------------- */

int sys_address_unix(const char *path, struct sys_address *ret_address) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t length = strnlen(path, sizeof(name.sun_path));

    if (length == 0)
        return -EINVAL;
    if (length == sizeof(name.sun_path))
        return -ENAMETOOLONG;
    memcpy(name.sun_path, path, length);
    *ret_address = (struct sys_address){ .size = sizeof(name) };
    memcpy(ret_address->bytes, &name, sizeof(name));
    return 0;
}

int sys_address_at(int dir, const char *name, struct sys_address *ret_address) {
    char path[SYS_PATH_MAX + 1];
    int length = snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);

    if (length < 0 || (size_t) length >= sizeof(path))
        return -ENAMETOOLONG;
    return sys_address_unix(path, ret_address);
}

static int look_up(const char *host, uint16_t port, int flags, struct sys_address *ret_address) {
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = flags | AI_NUMERICSERV,
    };
    struct addrinfo *found;
    char service[8];
    int rc;

    (void) snprintf(service, sizeof(service), "%u", port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc == EAI_SYSTEM)
        return -errno;
    if (rc == EAI_MEMORY)
        return -ENOMEM;
    if (rc != 0)
        return flags & AI_NUMERICHOST ? -EINVAL : -EHOSTUNREACH;
    *ret_address = (struct sys_address){ .size = found->ai_addrlen };
    memcpy(ret_address->bytes, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

int sys_address_tcp(const char *host, uint16_t port, struct sys_address *ret_address) {
    return look_up(host, port, 0, ret_address);
}

int sys_address_numeric(const char *host, uint16_t port, struct sys_address *ret_address) {
    return look_up(host, port, AI_NUMERICHOST, ret_address);
}

bool sys_address_is_local(const struct sys_address *address) {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    switch (plain(address)->sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        memcpy(&v4, address->bytes, sizeof(v4));
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        memcpy(&v6, address->bytes, sizeof(v6));
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    default:
        return false;
    }
}

uint16_t sys_address_port(const struct sys_address *address) {
    struct sockaddr_in v4; /* that of IPv6 has its port at the same place */

    memcpy(&v4, address->bytes, sizeof(v4));
    return ntohs(v4.sin_port);
}

void sys_address_set_port(struct sys_address *address, uint16_t port) {
    struct sockaddr_in v4; /* likewise */

    memcpy(&v4, address->bytes, sizeof(v4));
    v4.sin_port = htons(port);
    memcpy(address->bytes, &v4, sizeof(v4));
}

/* ---- listening ------------------------------------------------------------------------------- */

static int new_socket(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

int sys_listen(const struct sys_address *address, int backlog) {
    OWNS_FD int fd = new_socket(plain(address)->sa_family);
    int on = 1;

    if (fd < 0)
        return fd;
    /* Of TCP only: connections of our predecessor, which end slowly, don't count. */
    if (plain(address)->sa_family != AF_UNIX)
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* [::] leaves 0.0.0.0 to others: each address is listened at by itself. */
    if (plain(address)->sa_family == AF_INET6)
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, plain(address), address->size) < 0 || listen(fd, backlog) < 0)
        return -errno;
    return take_fd(&fd);
}

int sys_listen_at(int dir, const char *name, uint32_t mode, int backlog) {
    OWNS_FD int fd = -1;
    struct sys_address address;
    char hidden[64];
    int length = snprintf(hidden, sizeof(hidden), ".%s.new", name);
    int rc;

    if (length < 0 || (size_t) length >= sizeof(hidden))
        return -ENAMETOOLONG;
    rc = sys_address_at(dir, hidden, &address);
    if (rc < 0)
        return rc;
    (void) unlinkat(dir, hidden, 0); /* of one that was killed here */
    fd = sys_listen(&address, backlog);
    if (fd < 0)
        return fd;
    if (fchmodat(dir, hidden, mode, 0) < 0 || renameat(dir, hidden, dir, name) < 0) {
        rc = -errno;
        (void) unlinkat(dir, hidden, 0);
        return rc;
    }
    return take_fd(&fd);
}

/* The lock of the directory in which a path lies: a descriptor that holds it. */
static int lock_folder(const char *path) {
    char folder[SYS_PATH_MAX + 1];
    struct timespec pause = { .tv_nsec = 1000000 };
    OWNS_FD int fd = -1;
    char *slash;

    (void) snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (!slash)
        return -EINVAL;
    slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (tries == 100)
            return -EBUSY;
        (void) nanosleep(&pause, NULL);
    }
    return take_fd(&fd);
}

/* Is it a socket that nobody listens at? Who does it meanwhile waits for our lock. */
static bool is_left_over(const char *path, const struct sys_address *address) {
    struct stat stat;
    bool pending;
    int fd, rc;

    if (lstat(path, &stat) < 0 || !S_ISSOCK(stat.st_mode))
        return false;
    rc = sys_connect(address, &fd, &pending);
    if (rc == 0)
        (void) close(fd);
    return rc == -ECONNREFUSED;
}

int sys_listen_path(const char *path, int backlog, uint64_t *ret_inode) {
    struct sys_address address;
    struct stat stat;
    int rc = sys_address_unix(path, &address);
    OWNS_FD int lock = rc < 0 ? rc : lock_folder(path);
    OWNS_FD int fd = lock < 0 ? lock : sys_listen(&address, backlog);

    if (fd == -EADDRINUSE && is_left_over(path, &address) && unlink(path) == 0)
        fd = sys_listen(&address, backlog);
    if (fd < 0)
        return fd;
    *ret_inode = lstat(path, &stat) == 0 ? stat.st_ino : 0;
    return take_fd(&fd);
}

void sys_unlisten_path(const char *path, uint64_t inode) {
    OWNS_FD int lock = lock_folder(path);
    struct stat stat;

    (void) lock; /* without it, all the same */
    if (lstat(path, &stat) == 0 && S_ISSOCK(stat.st_mode) && stat.st_ino == inode)
        (void) unlink(path); /* gone already is as good */
}

int sys_local_address(int fd, struct sys_address *ret_address) {
    struct sys_address address = { .size = sizeof(address.bytes) };
    socklen_t size = sizeof(address.bytes);

    if (getsockname(fd, (struct sockaddr *) address.bytes, &size) < 0)
        return -errno;
    address.size = size;
    *ret_address = address;
    return 0;
}

int sys_peer_address(int fd, struct sys_address *ret_address) {
    struct sys_address address = { .size = sizeof(address.bytes) };
    socklen_t size = sizeof(address.bytes);

    if (getpeername(fd, (struct sockaddr *) address.bytes, &size) < 0)
        return -errno;
    address.size = size;
    *ret_address = address;
    return 0;
}

int sys_accept(int fd) {
    int rc;

    do
        rc = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (rc < 0 && (errno == EINTR || errno == ECONNABORTED));
    return rc < 0 ? -errno : rc;
}

/* ---- connecting ------------------------------------------------------------------------------ */

int sys_connect(const struct sys_address *address, int *ret_fd, bool *ret_pending) {
    OWNS_FD int fd = new_socket(plain(address)->sa_family);
    int rc;

    if (fd < 0)
        return fd;
    rc = connect(fd, plain(address), address->size);
    /* After a signal it goes on by itself, as one that was not waited for. */
    if (rc < 0 && errno != EINPROGRESS && errno != EINTR)
        return -errno;
    *ret_pending = rc < 0;
    *ret_fd = take_fd(&fd);
    return 0;
}

int sys_connected(int fd) {
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

int sys_credentials(int fd, struct sys_credentials *ret_credentials) {
    struct ucred found;
    socklen_t size = sizeof(found);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &size) < 0)
        return -errno;
    *ret_credentials = (struct sys_credentials){
        .pid = found.pid,
        .user = found.uid,
        .group = found.gid,
    };
    return 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

int64_t sys_receive(int fd, void *buffer, size_t size) {
    ssize_t got;

    do
        got = recv(fd, buffer, size, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int64_t sys_receive_pieces(int fd, const struct iovec *pieces, int count) {
    ssize_t got;

    do
        got = readv(fd, pieces, count);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int64_t sys_send(int fd, const void *bytes, size_t size) {
    ssize_t put;

    do
        put = send(fd, bytes, size, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

int64_t sys_send_pieces(int fd, const struct iovec *pieces, int count) {
    struct msghdr message = {
        .msg_iov = (struct iovec *) (uintptr_t) pieces, /* it is only read */
        .msg_iovlen = (size_t) count,
    };
    ssize_t put;

    do
        put = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

int sys_no_delay(int fd) {
    int on = 1;

    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ? -errno : 0;
}

int sys_unsent(int fd, uint32_t bytes) {
    return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes)) < 0 ? -errno : 0;
}

int sys_tell(const char *path, const void *bytes, size_t size) {
    OWNS_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t length = strnlen(path, sizeof(name.sun_path));
    socklen_t taken = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t put;

    if (fd < 0)
        return -errno;
    if (length < 2 || length == sizeof(name.sun_path))
        return -EINVAL;
    memcpy(name.sun_path, path, length);
    if (*path == '@')
        name.sun_path[0] = '\0';
    do
        put = sendto(fd, bytes, size, MSG_NOSIGNAL, (struct sockaddr *) &name, taken);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : 0;
}
