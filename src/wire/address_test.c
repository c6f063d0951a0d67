/* SPDX-License-Identifier: MIT */
#include "wire/address.h"

#include <string.h>

#include "harness.h"

#define PATH107 \
    "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

TEST(good_ones_have_one_spelling) {
    static const char *const good[][2] = {
        { "svc://media", "svc://media" },
        { "svc://a/b:1", "svc://a/b:1" },
        { "svc://media@left", "svc://media@left" },
        { "svc://a/b:1@h-2", "svc://a/b:1@h-2" },
        { "shm://1.2.3.4/media", "shm://1.2.3.4/media" },
        { "shm://240.0.0.1/a/b:1", "shm://240.0.0.1/a/b:1" },
        { "ipc:///run/x", "ipc:///run/x" },
        { "file:///run/x y", "ipc:///run/x y" },
        { "ipc://" PATH107, "ipc://" PATH107 },
        { "tcp://127.0.0.1:7000", "tcp://127.0.0.1:7000" },
        { "tcp://localhost:0", "tcp://localhost:0" },
        { "tcp://a-b.c9:65535", "tcp://a-b.c9:65535" },
        { "tcp://[::1]:7000", "tcp://[::1]:7000" },
        { "tcp://[::]:7000", "tcp://[::]:7000" },
        { "tcp://[1:2:3:4:5:6:7:8]:1", "tcp://[1:2:3:4:5:6:7:8]:1" },
        { "tcp://[1::8]:1", "tcp://[1::8]:1" },
        { "tcp://[1::]:1", "tcp://[1::]:1" },
        { "tcp://[::ffff:1.2.3.4]:1", "tcp://[::ffff:1.2.3.4]:1" },
        { "tcp://[1:2:3:4:5:6:1.2.3.4]:1", "tcp://[1:2:3:4:5:6:1.2.3.4]:1" },
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address address;
        struct wrong wrong = { 0 };
        char text[ADDRESS_SIZE];

        if (address_parse(good[i][0], &address, &wrong) < 0)
            FAIL("%s: %s", good[i][0], wrong.text);
        CHECK_STR(address_format(&address, text), good[i][1]);
    }
    CHECK_EQ(strlen(PATH107), 107);
}

TEST(parts) {
    struct address address;

    CHECK_OK(address_parse("shm://1.2.3.4/media:left", &address, NULL));
    CHECK_EQ(address.kind, ADDRESS_SHM);
    CHECK_EQ(address.node, 0x01020304);
    CHECK_STR(address.name.name, "media");
    CHECK_STR(address.name.instance, "left");
    CHECK_OK(address_parse("tcp://[fe80::1]:80", &address, NULL));
    CHECK_EQ(address.kind, ADDRESS_TCP);
    CHECK_STR(address.host, "fe80::1");
    CHECK_EQ(address.port, 80);
    CHECK_STR(address_scheme(ADDRESS_IPC), "ipc");
    CHECK_STR(address_scheme(ADDRESS_TCP), "tcp");
    CHECK_OK(address_parse("tls://beta@[fd00::2]:7000", &address, NULL));
    CHECK_EQ(address.kind, ADDRESS_TLS);
    CHECK_STR(address.expected, "beta");
    CHECK_STR(address.host, "fd00::2");
    CHECK_OK(address_parse("tls://10.0.0.2:7000", &address, NULL));
    CHECK_STR(address.expected, "");
}

TEST(bad_ones_say_why) {
    static const char *const bad[][2] = {
        { "", "no address" },
        { "media", "no address" },
        { "http://x", "no address" },
        { "svc:/x", "no address" },
        { "svc://", "no name" },
        { "svc://a b", "no name" },
        { "svc://a:", "no name" },
        { "topic://", "no name of a topic" },
        { "topic://a b", "no name of a topic" },
        { "topic://01234567890123456789012345678901234567890123456789012345678", "1 to 57" },
        { "shm://media", "an ID and a name" },
        { "shm://1.2.3/media", "an ID and a name" },
        { "shm://1.2.3.256/media", "an ID and a name" },
        { "shm://01.2.3.4/media", "an ID and a name" },
        { "shm://0.0.0.0/media", "an ID and a name" },
        { "shm://255.255.255.255/media", "an ID and a name" },
        { "shm://1.2.3.4/", "no name" },
        { "ipc://run/x", "begins with '/'" },
        { "ipc:///run/", "ends with its name" },
        { "ipc:///", "ends with its name" },
        { "ipc:///a\nb", "control character" },
        { "ipc://" PATH107 "a", "up to 107" },
        { "tcp://host", "a host and a port" },
        { "tcp://:7000", "no host" },
        { "tcp://1.2.3:7000", "no host" },
        { "tcp://1.2.3.4.5:7000", "no host" },
        { "tcp://-a:1", "no host" },
        { "tcp://a-:1", "no host" },
        { "tcp://a..b:1", "no host" },
        { "tcp://a_b:1", "no host" },
        { "tcp://::1:7000", "written in [ ]" },
        { "tcp://[::1]7000", "a host and a port" },
        { "tcp://[::1:7000", "a host and a port" },
        { "tcp://[1:2:3:4:5:6:7]:1", "no host" },
        { "tcp://[1:2:3:4:5:6:7:8:9]:1", "no host" },
        { "tcp://[1::2::3]:1", "no host" },
        { "tcp://[:::1]:1", "no host" },
        { "tcp://[1:::2]:1", "no host" },
        { "tcp://[1:]:1", "no host" },
        { "tcp://[:1]:1", "no host" },
        { "tcp://[12345::]:1", "no host" },
        { "tcp://[1.2.3.4]:1", "no host" },
        { "tcp://[1.2.3.4::]:1", "no host" },
        { "tcp://[1:2:3:4:5:6:7:8::]:1", "no host" },
        { "tcp://[g::]:1", "no host" },
        { "tcp://a:65536", "no port" },
        { "tcp://a:", "no port" },
        { "tcp://a:07", "no port" },
        { "tcp://a:7x", "no port" },
        { "tcp://a@b:7", "no host" },
        { "tls://b", "tls:// takes a host and a port" },
        { "tls://@b:7", "before the '@'" },
        { "tls://0123456789012345678901234567890123456789012345678901234567890123@b:7",
          "before the '@'" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct address address = { .port = 99 };
        struct wrong wrong = { 0 };
        int rc = address_parse(bad[i][0], &address, &wrong);

        if (rc != -EINVAL)
            FAIL("%s is taken", bad[i][0]);
        if (!strstr(wrong.text, bad[i][1]))
            FAIL("%s: '%s'", bad[i][0], wrong.text);
        CHECK_EQ(address.port, 99); /* untouched */
    }
}

TEST(host_behind_a_name) {
    static const char *const bad[][2] = {
        { "svc://a@", "name of a host" },
        { "svc://a@b@c", "name of a host" },
        { "svc://@b", "no name" },
        { "shm://1.2.3.4/a@b", "no name" },
    };
    struct address address;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wrong wrong = { 0 };

        CHECK_ERR(address_parse(bad[i][0], &address, &wrong), -EINVAL);
        CHECK(strstr(wrong.text, bad[i][1]));
    }
}
