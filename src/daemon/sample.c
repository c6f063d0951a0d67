/* SPDX-License-Identifier: MIT
 *
 * A look at the whole bus of this host, for `tram top --hosts`, here and on other hosts.
 *
 * It must hold up nothing: a step of it takes STEP, but for the channels to one node, which are
 * read in one go, and the list of nodes. All who ask while it is under way get the same look; the
 * next one begins when SHARE times what it cost has passed, so that it takes a fifth of a processor
 * at most, however many ask. Of a bus that has more than the asker has room for, half of the
 * channels are those in which the most waits, the rest those through which the most went since the
 * look before; of the nodes the ends of these come first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hosts.h"
#include "observe/observe.h"
#include "sys/clock.h"

#define STEP INT64_C(1000000)
#define SHARE 5
#define EACH 8u /* questions of another host that wait */

typedef Tram__Control__Sample sample_words;
typedef Tram__Control__Sample__Channel channel_words;
typedef Tram__Control__Sample__Node node_words;

struct asker {
    struct asker *next;
    struct host *host; /* NULL: a question here */
    uint64_t number;
    uint32_t rows;
};

/* How far a channel was. */
struct past {
    tram_id to, from;
    uint64_t position;
};

struct sampling {
    struct asker *askers;
    struct observe *observe;       /* NULL: none is under way */
    struct observe_node *nodes;
    size_t node_count, at;         /* those before it are read */
    struct observe_channel *channels;
    size_t channel_count, room;
    struct past *past;             /* of the look before */
    size_t past_count;
    int64_t cost, next;            /* when the next one may begin */
};

/* ---- which rows ------------------------------------------------------------------------------ */

struct rank {
    size_t at;
    uint64_t value;
};

static int by_value(const void *left, const void *right) {
    const struct rank *a = left, *b = right;

    return a->value != b->value ? a->value > b->value ? -1 : 1 : a->at < b->at ? -1 : 1;
}

static int by_ends(const void *left, const void *right) {
    const struct past *a = left, *b = right;

    if (a->to != b->to)
        return a->to < b->to ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* Bytes that went through it since the look before. */
static uint64_t moved(const struct sampling *sampling, const struct observe_channel *channel) {
    struct past key = { .to = channel->to, .from = channel->from };
    const struct past *past = sampling->past_count == 0
                                  ? NULL : bsearch(&key, sampling->past, sampling->past_count,
                                                   sizeof(key), by_ends);

    return past && past->position <= channel->position ? channel->position - past->position
                                                       : channel->position;
}

/* Mark up to `most` more, those of the highest values above 0, or all if there is room. */
static size_t mark(struct rank *ranks, size_t count, size_t most, bool *keep) {
    size_t marked = 0;

    qsort(ranks, count, sizeof(*ranks), by_value);
    for (size_t i = 0; i < count && marked < most; i++) {
        marked += !keep[ranks[i].at];
        keep[ranks[i].at] = true;
    }
    return marked;
}

/* Which channels: keep[] of them. How many. */
static size_t choose(const struct sampling *sampling, uint32_t rows, bool *keep,
                     struct rank *ranks) {
    size_t count = sampling->channel_count, waiting = 0, marked;

    for (size_t i = 0; i < count; i++)
        if (sampling->channels[i].waiting > 0)
            ranks[waiting++] = (struct rank){ i, sampling->channels[i].waiting };
    marked = mark(ranks, waiting, count <= rows ? count : rows / 2, keep);
    for (size_t i = 0; i < count; i++)
        ranks[i] = (struct rank){ i, moved(sampling, &sampling->channels[i]) };
    return marked + mark(ranks, count, rows - marked, keep);
}

static size_t node_at(const struct sampling *sampling, tram_id id) {
    size_t low = 0, high = sampling->node_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sampling->nodes[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sampling->node_count && sampling->nodes[low].id == id ? low : SIZE_MAX;
}

static size_t choose_nodes(const struct sampling *sampling, uint32_t rows, const bool *channels,
                           bool *keep) {
    size_t marked = 0;

    for (size_t i = 0; i < sampling->channel_count && marked < rows; i++) {
        const tram_id ends[] = { sampling->channels[i].to, sampling->channels[i].from };

        for (size_t end = 0; channels[i] && end < 2 && marked < rows; end++) {
            size_t at = node_at(sampling, ends[end]);

            if (at == SIZE_MAX || keep[at])
                continue;
            keep[at] = true;
            marked++;
        }
    }
    for (size_t i = 0; i < sampling->node_count && marked < rows; i++) {
        marked += !keep[i];
        keep[i] = true;
    }
    return marked;
}

/* ---- telling --------------------------------------------------------------------------------- */

static channel_words words_of(struct observe_channel *channel) {
    channel_words words = CONTROL_NEW(Sample__Channel, sample__channel);
    uint64_t wall = sys_wall();

    words.from = channel->from;
    words.to = channel->to;
    words.stream = channel->id;
    words.state = channel->state;
    words.accepted = channel->accepted;
    words.consumed = channel->consumed;
    words.position = channel->position;
    words.waiting = channel->waiting;
    words.bytes = channel->waiting_bytes;
    words.age_ns = channel->oldest_ns > 0 && wall > channel->oldest_ns ? wall - channel->oldest_ns
                                                                       : 0;
    words.aside = channel->aside;
    words.memory = channel->memory;
    words.note = trust_shown(channel->note);
    return words;
}

static node_words words_of_node(struct observe_node *node) {
    node_words words = CONTROL_NEW(Sample__Node, sample__node);

    words.id = node->id;
    words.up = node->up;
    words.pid = node->pid;
    words.program = trust_shown(node->program);
    words.opens = node->opens;
    words.note = trust_shown(node->note);
    return words;
}

static void answer_with(struct hosts *hosts, const struct asker *asker, sample_words *words) {
    Tram__Hosts__Answer answer = HOSTS_NEW(Answer, answer);
    hosts_frame frame = HOSTS_FRAME(ANSWER, answer, &answer);
    uint8_t bytes[HOSTS_SAMPLE_MAX];

    words->host = hosts->self.name;
    words->number = hosts->self.host;
    if (!asker->host) {
        trace_sampled(hosts, asker->number, words);
        return;
    }
    if (tram__control__sample__get_packed_size(words) > sizeof(bytes))
        return; /* cannot be: see CONTROL_SAMPLE_MAX */
    answer.number = asker->number;
    answer.sample.data = bytes;
    answer.sample.len = tram__control__sample__pack(words, bytes);
    (void) peer_say(asker->host, &frame); /* or its question runs out */
}

/* The rows that are kept, in as many frames as it takes. */
static void tell_rows(struct hosts *hosts, const struct asker *asker, const bool *channels,
                      const bool *nodes, sample_words *words) {
    struct sampling *sampling = hosts->sampling;
    size_t channel = 0, node = 0;

    do {
        channel_words rows[CONTROL_SAMPLE_MAX], *row_list[CONTROL_SAMPLE_MAX];
        node_words ends[CONTROL_SAMPLE_MAX], *end_list[CONTROL_SAMPLE_MAX];

        words->n_channels = words->n_nodes = 0;
        words->channels = row_list;
        words->nodes = end_list;
        for (; channel < sampling->channel_count && words->n_channels < CONTROL_SAMPLE_MAX;
             channel++)
            if (channels[channel]) {
                rows[words->n_channels] = words_of(&sampling->channels[channel]);
                row_list[words->n_channels] = &rows[words->n_channels];
                words->n_channels++;
            }
        for (; node < sampling->node_count && words->n_nodes < CONTROL_SAMPLE_MAX; node++)
            if (nodes[node]) {
                ends[words->n_nodes] = words_of_node(&sampling->nodes[node]);
                end_list[words->n_nodes] = &ends[words->n_nodes];
                words->n_nodes++;
            }
        words->last = channel == sampling->channel_count && node == sampling->node_count;
        answer_with(hosts, asker, words);
    } while (!words->last);
}

static void tell(struct hosts *hosts, const struct asker *asker) {
    struct sampling *sampling = hosts->sampling;
    size_t count = sampling->channel_count, nodes = sampling->node_count;
    bool *keep = calloc(count + nodes + 1, sizeof(*keep));
    struct rank *ranks = calloc(count + 1, sizeof(*ranks));
    sample_words words = CONTROL_NEW(Sample, sample);

    if (keep && ranks) {
        words.left_channels = count - choose(sampling, asker->rows, keep, ranks);
        words.left_nodes = nodes - choose_nodes(sampling, asker->rows, keep, keep + count);
        tell_rows(hosts, asker, keep, keep + count, &words);
    } else {
        words.silent = (char *) (uintptr_t) "no memory"; /* frames that go out are only read */
        words.last = true;
        answer_with(hosts, asker, &words);
    }
    free(keep);
    free(ranks);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* The next look compares with this one. */
static void remember(struct sampling *sampling) {
    struct past *past = calloc(sampling->channel_count + 1, sizeof(*past));

    free(sampling->past);
    sampling->past = past;
    sampling->past_count = past ? sampling->channel_count : 0;
    for (size_t i = 0; i < sampling->past_count; i++)
        past[i] = (struct past){ sampling->channels[i].to, sampling->channels[i].from,
                                 sampling->channels[i].position };
}

static void end(struct sampling *sampling) {
    sampling->observe = observe_close(sampling->observe);
    free(sampling->nodes);
    free(sampling->channels);
    sampling->nodes = NULL;
    sampling->channels = NULL;
    sampling->node_count = sampling->at = sampling->channel_count = sampling->room = 0;
}

/* The channels to one node. A node that is gone has none. */
static int read_node(struct sampling *sampling, tram_id id) {
    struct observe_channel *some, *more;
    size_t count, room = sampling->room;
    int rc = observe_channels(sampling->observe, id, &some, &count);

    if (rc < 0)
        return rc == -ENOMEM ? rc : 0;
    while (room < sampling->channel_count + count)
        room = 2 * room + 64;
    more = room == sampling->room ? sampling->channels
                                  : realloc(sampling->channels, room * sizeof(*more));
    if (more) {
        sampling->channels = more;
        sampling->room = room;
        if (count > 0)
            memcpy(more + sampling->channel_count, some, count * sizeof(*some));
        sampling->channel_count += count;
    }
    free(some);
    return more || count == 0 ? 0 : -ENOMEM;
}

static void finish(struct hosts *hosts, int rc) {
    struct sampling *sampling = hosts->sampling;
    struct asker *askers = sampling->askers, *next;

    sampling->askers = NULL;
    if (rc == -ENOMEM) /* what is there is told */
        sampling->at = sampling->node_count;
    for (struct asker *asker = askers; asker; asker = next) {
        next = asker->next;
        tell(hosts, asker);
        free(asker);
    }
    remember(sampling);
    end(sampling);
}

/* Some of it. */
static void step(struct hosts *hosts) {
    struct sampling *sampling = hosts->sampling;
    int64_t began = (int64_t) sys_now();
    int rc = 0;

    if (!sampling->observe) {
        sampling->cost = 0;
        rc = observe_open(hosts->daemon->bus.path, &sampling->observe);
        if (rc == 0)
            rc = observe_nodes(sampling->observe, &sampling->nodes, &sampling->node_count);
    }
    while (rc == 0 && sampling->at < sampling->node_count && (int64_t) sys_now() - began < STEP)
        rc = read_node(sampling, sampling->nodes[sampling->at++].id);
    sampling->cost += (int64_t) sys_now() - began;
    if (rc < 0 || sampling->at == sampling->node_count) {
        finish(hosts, rc);
        sampling->next = hosts_now(hosts) + SHARE * sampling->cost;
    }
}

void sample_begin(struct hosts *hosts, struct host *host, uint64_t number, uint32_t rows) {
    struct asker *asker = NULL;
    unsigned count = 0;

    if (!hosts->sampling)
        hosts->sampling = calloc(1, sizeof(*hosts->sampling));
    for (const struct asker *one = hosts->sampling ? hosts->sampling->askers : NULL; one;
         one = one->next)
        count += host && one->host == host;
    if (hosts->sampling && count < EACH)
        asker = calloc(1, sizeof(*asker));
    if (!asker)
        return; /* the question runs out */
    asker->host = host;
    asker->number = number;
    asker->rows = rows < SAMPLE_ROWS_MOST ? rows : SAMPLE_ROWS_MOST;
    asker->next = hosts->sampling->askers;
    hosts->sampling->askers = asker;
    hosts_wake(hosts, hosts->sampling->next);
}

int64_t sample_time(struct hosts *hosts, int64_t now) {
    struct sampling *sampling = hosts->sampling;

    if (!sampling || !sampling->askers)
        return INT64_MAX;
    if (sampling->observe || now >= sampling->next)
        step(hosts);
    return !sampling->askers ? INT64_MAX : sampling->observe ? now : sampling->next;
}

void sample_leave(struct host *host) {
    struct asker **link = host->hosts->sampling ? &host->hosts->sampling->askers : NULL;

    while (link && *link) {
        struct asker *asker = *link;

        if (asker->host == host) {
            *link = asker->next;
            free(asker);
        } else {
            link = &asker->next;
        }
    }
}

void sample_stop(struct hosts *hosts) {
    struct sampling *sampling = hosts->sampling;

    if (!sampling)
        return;
    while (sampling->askers) {
        struct asker *asker = sampling->askers;

        sampling->askers = asker->next;
        free(asker);
    }
    end(sampling);
    free(sampling->past);
    free(sampling);
    hosts->sampling = NULL;
}
