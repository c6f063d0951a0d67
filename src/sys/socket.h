/* SPDX-License-Identifier: MIT
 *
 * Stream sockets: UNIX and TCP. The only place that includes <sys/socket.h>. Every call returns 0,
 * a descriptor (close-on-exec, not blocking) or a count, or a negative errno; goes on after a
 * signal; and no send raises SIGPIPE.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SYS_PATH_MAX 107u /* bytes of the path of a UNIX socket */

/* An address, as the kernel takes it. */
struct sys_address {
    uint64_t bytes[16];
    uint32_t size;
};

/* A path. -ENAMETOOLONG */
int sys_address_unix(const char *path, struct sys_address *ret_address);
/* A name below a directory, which has to stay open meanwhile; so its path may be of any length. */
int sys_address_at(int dir, const char *name, struct sys_address *ret_address);
/* IPv4, IPv6 (without brackets), or a host's name, which is looked up, and that can take seconds.
 * -EHOSTUNREACH: there is no such host. */
int sys_address_tcp(const char *host, uint16_t port, struct sys_address *ret_address);
/* The same of those that need no look-up; -EINVAL for others. */
int sys_address_numeric(const char *host, uint16_t port, struct sys_address *ret_address);

/* Does it stay on this host? Of TCP: 127.0.0.0/8 and ::1. */
bool sys_address_is_local(const struct sys_address *address);
/* The port of a TCP address. */
uint16_t sys_address_port(const struct sys_address *address);
void sys_address_set_port(struct sys_address *address, uint16_t port);
/* TCP: "1.2.3.4:567", "[::1]:567"; UNIX: "local". `buffer` is returned. */
#define SYS_ADDRESS_TEXT 80
char *sys_address_text(const struct sys_address *address, char buffer[SYS_ADDRESS_TEXT]);
/* Have two TCP addresses the same host, whatever the port? IPv4 written as IPv6 is IPv4. */
bool sys_address_same_host(const struct sys_address *a, const struct sys_address *b);

/* Name of this machine, up to the first dot, cut to fit. */
void sys_host_name(char *buffer, size_t size);

/* An address of this host, and of the segment that it is in. */
struct sys_interface {
    char name[16];
    struct sys_address address; /* port 0 */
    uint32_t bits;              /* of the address that the segment has in common */
};
/* Those that are up: how many were entered, at most `max`. */
int sys_interfaces(struct sys_interface *ret_interfaces, int max);
/* Is the address in this segment? */
bool sys_interface_has(const struct sys_interface *interface, const struct sys_address *address);

/* -EADDRINUSE: somebody listens, or, UNIX, something lies at the path. */
int sys_listen(const struct sys_address *address, int backlog);
/* A UNIX socket with this mode below `dir`, in the place of whatever has the name: it appears there
 * when it can be connected to. */
int sys_listen_at(int dir, const char *name, uint32_t mode, int backlog);
/* A UNIX socket at a path, in the place of one that a dead process left. *ret_inode tells it from
 * what somebody puts there later. -EADDRINUSE: somebody listens there, or what lies there is no
 * socket. -EBUSY: somebody holds the directory's lock (flock(2)), under which this is done. */
int sys_listen_path(const char *path, int backlog, uint64_t *ret_inode);
/* Take it away again, if it is still the one. */
void sys_unlisten_path(const char *path, uint64_t inode);
/* What it got: of TCP, its port. */
int sys_local_address(int fd, struct sys_address *ret_address);

/* The next who connected, those who went again left out. -EAGAIN: nobody. */
int sys_accept(int fd);

/* *ret_pending: it is not there yet; when it is writable, sys_connected() says how it ended. A UNIX
 * socket whose backlog is full: -EAGAIN. */
int sys_connect(const struct sys_address *address, int *ret_fd, bool *ret_pending);
int sys_connected(int fd);

/* Who is at the other end of a UNIX socket, as the kernel says; as of its connect or listen. */
struct sys_credentials {
    int32_t pid; /* 0: of another pid namespace */
    uint32_t user, group;
};
int sys_credentials(int fd, struct sys_credentials *ret_credentials);

/* The address at the other end. */
int sys_peer_address(int fd, struct sys_address *ret_address);

/* How many bytes: up to `size`. 0: the end. -EAGAIN, -ECONNRESET … */
int64_t sys_receive(int fd, void *buffer, size_t size);
int64_t sys_receive_pieces(int fd, const struct iovec *pieces, int count);
/* How many of them went: at least 1. -EAGAIN, -EPIPE, -ECONNRESET … */
int64_t sys_send(int fd, const void *bytes, size_t size);
int64_t sys_send_pieces(int fd, const struct iovec *pieces, int count);

/* TCP: send at once what is given. */
int sys_no_delay(int fd);
/* TCP: take no more when so much has not left: others' bytes that come next wait for no more than
 * that. What is on its way, on a long line, has its room all the same. */
int sys_unsent(int fd, uint32_t bytes);

/* One datagram to the UNIX socket at `path`, or of the abstract name behind an '@'. */
int sys_tell(const char *path, const void *bytes, size_t size);
