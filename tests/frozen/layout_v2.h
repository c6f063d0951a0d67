/* SPDX-License-Identifier: MIT
 *
 * Layout version 2, as it was: never edited. Made by tests/frozen_test.py --freeze. */
#define LAYOUT_VERSION 2u
#define STREAM_MAGIC UINT64_C(0x474e49524d415254)
#define HEAD_MAGIC UINT64_C(0x444145484d415254)
#define DOOR_MAGIC UINT64_C(0x524f4f444d415254)
#define LAYOUT_ALIGN 8u
#define LAYOUT_DATA 65536u
#define LAYOUT_DOOR 4096u
#define LAYOUT_WINDOW 512u
#define LAYOUT_BITS 512u
#define STREAM_MIN 65536u
#define STREAM_MAX (UINT64_C(1) << 32)
#define LAYOUT_END (UINT64_C(1) << 63)
#define LAYOUT_GENERATIONS 17u
#define RECORD_LINK 1u
#define RECORD_WIDE 2u
#define RECORD_CHECKED 4u
#define RECORD_KINDS 0xffu
#define RECORD_LIFE(flags) ((flags) >> 8)
#define ARMED_ON 1u
#define ARMED_CLOSED 2u
#define ARMED_BROKEN 4u
#define ARMED_TRIM 8u
#define ARMED_FINAL 16u
#define ARMED_EPOCH 32u
#define ARMED_REMOVED (ARMED_CLOSED | ARMED_FINAL)
#define WINDOW_SEQ(w) ((w) & UINT64_C(0xffffffffffff))
#define WINDOW_ATTEMPTS(w) ((uint32_t) ((w) >> 48) & 0xffu)
#define WINDOW_RECOVERY(w) ((uint32_t) ((w) >> 56) & 0x7u)
#define WINDOW_RELEASED (UINT64_C(1) << 63)
#define DOOR_EPHEMERAL 1u

struct v2_record {
    uint64_t seq;
    uint32_t size;
    uint32_t prev;
    uint32_t from;
    uint32_t tag;
    uint32_t flags;
    uint32_t check;
};

struct v2_extension {
    uint64_t time_ns;
    uint8_t layer[16];
};

struct v2_stream {
    uint64_t magic;
    uint32_t version;
    uint32_t generation;
    uint32_t from;
    uint32_t to;
    uint64_t id;
    uint64_t base;
    uint64_t base_seq;
    uint64_t capacity;
    uint64_t made_ns;
    uint64_t zero[24];
    uint64_t tail;
    uint64_t accepted[2];
    uint64_t zero2[5];
    uint64_t want;
    uint64_t kept;
    uint64_t reserved;
    uint64_t boot;
    uint64_t lost;
    uint64_t life;
    uint64_t since;
    uint64_t zero3;
};

struct v2_head {
    uint64_t magic;
    uint32_t version;
    uint32_t zero0;
    uint32_t from;
    uint32_t to;
    uint64_t id;
    uint64_t zero[12];
    uint64_t head;
    uint64_t zero2[7];
    uint64_t armed;
    uint64_t zero3[7];
    uint64_t committed;
    uint64_t consumed[2];
    uint64_t handed;
    uint64_t aside;
    uint64_t boot;
    uint64_t unsure;
    uint64_t life;
    uint64_t zero5[472];
    uint64_t window[LAYOUT_WINDOW];
};

struct v2_door {
    uint64_t magic;
    uint32_t version;
    uint32_t id;
    uint32_t pid;
    uint32_t flags;
    uint64_t start;
    uint64_t opened_ns;
    uint64_t closed_ns;
    uint64_t opens;
    char program[32];
    uint64_t pid_namespace;
    uint64_t zero[20];
    uint32_t asleep;
    uint32_t zero1[15];
    uint32_t attached;
    uint32_t zero2;
    uint64_t gone;
    uint64_t zero3[6];
    uint64_t bits[LAYOUT_BITS / 64];
};
