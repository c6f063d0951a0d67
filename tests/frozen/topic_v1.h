/* SPDX-License-Identifier: MIT
 *
 * Layout version 1, as it was: never edited. Made by tests/frozen_test.py --freeze. */
#define TOPIC_VERSION 1u
#define TOPIC_MAGIC UINT64_C(0x53544e5645415254)
#define READER_MAGIC UINT64_C(0x5244414552415254)
#define TOPIC_STEPS 64u
#define TOPIC_MIN 65536u
#define TOPIC_MAX (UINT64_C(1) << 32)
#define READER_SIZE 4096u
#define TOPIC_AMPLE(mask) (((mask) + 1) / 8)
#define TOPIC_UNKNOWN UINT64_MAX
#define READER_BLOCK 1u
#define WISH_MAGIC UINT64_C(0x4853495754415254)
#define WISH_AT 512u

struct v1_topic {
    uint64_t magic;
    uint32_t version;
    uint32_t zero0;
    uint32_t node;
    uint32_t port;
    uint64_t id;
    uint64_t capacity;
    uint64_t made_ns;
    uint32_t copy;
    uint32_t zero4;
    uint64_t zero[25];
    uint64_t tail;
    uint64_t count[2];
    uint64_t zero1[5];
    uint64_t floor;
    uint64_t zero2[7];
    uint64_t want;
    uint64_t zero3[7];
};

struct v1_topic_reader {
    uint64_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t node;
    uint32_t zero1;
    uint64_t topic;
    uint64_t zero[12];
    uint64_t position;
    uint64_t number[2];
    uint64_t missed;
    uint64_t handed;
    uint64_t zero2[3];
    uint64_t armed;
    uint64_t zero3[7];
};

struct v1_topic_wish {
    uint64_t magic;
    uint32_t event;
    uint32_t zero;
    char topic[256];
};

struct v1_topic_record {
    uint64_t number;
    uint32_t size;
    uint32_t code;
    uint64_t time_ns;
    uint16_t extra;
    uint8_t flags;
    uint8_t zero0;
    uint32_t passed;
};
