/* SPDX-License-Identifier: MIT
 *
 * A small game cluster, the second act of the demo; game.sh starts, kills and checks it.
 *
 *     player ──buy──▶ gate ──▶ room ──▶ database, which writes a journal
 *        ▲                       │
 *        └────── topic://chat ───┘
 *
 *     game db JOURNAL             books what was bought, each purchase once
 *     game room N                 a game server; says in the chat what its players buy
 *     game gate N                 hands the requests of players on to their rooms
 *     game player N TOLD          buys all the time; writes into TOLD what it was told of each
 *
 * Each server has a node of a fixed ID: killed and started again, it finds what waits for it, and
 * what its predecessor had in hand comes again, marked. The mark goes along to the database, which
 * looks into its journal: what is there is not booked again. SIGTERM: a server hands over, a player
 * stops buying and waits for what it asked. Players stay in one process each, and are not killed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tram/service.h>

enum {
    PLAYERS = 4,
    ROOMS = 2,
    GATES = 2,
    OPEN_MAX_EACH = 48,         /* requests of a player under way */
    NUMBERS = 1000000,          /* purchases of a player, at most */
    LINE = 32,                  /* of the journal; fixed, so that a kill tears none */
    CHAT_EVERY = 10,            /* purchases */
    BUY_NS = 500000,            /* between two of a player */
    PURCHASE = 1,               /* the code of the request */
    CHAT = 1,                   /* the event */
};

/* A purchase, all the way down; and the answer, all the way up. */
struct purchase {
    uint32_t player;
    uint32_t number;
    uint32_t amount;
    uint32_t again; /* handed out before, somewhere: may be booked */
};

struct chat {
    uint32_t room;
    int32_t pid;
    uint64_t number; /* of this life of the room, from 1 */
};

static tram_worker *worker;
static tram_server *server;

static int die(const char *what) {
    const struct tram_error *error = worker == NULL ? tram_last_error(NULL) :
                                                      tram_worker_error(worker);

    (void) fprintf(stderr, "game: %s: %s\n", what, error->text);
    exit(1);
}

static void make_worker(tram_id id) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;

    node.attempts = 254; /* here a message that is handed out often is no bad one */
    options.node = &node;
    options.id = id;
    options.flags = TRAM_WORKER_NO_SPIN; /* ten processes, and maybe two cores */
    if (tram_worker_new(&options, &worker) < 0)
        die("worker");
}

static void on_drained(tram_server *drained, void *arg) {
    (void) drained;
    (void) arg;
    (void) tram_worker_stop(worker, 0);
}

static void on_term(tram_signal *term, int number, void *arg) {
    (void) term;
    (void) number;
    (void) arg;
    if (tram_server_drain(server, on_drained) < 0)
        (void) tram_worker_stop(worker, 0);
}

static int serve(const char *name, unsigned instance, const struct tram_server_handlers *handlers) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    char address[64];
    tram_signal *term;

    (void) snprintf(address, sizeof(address), "svc://game/%s:%u", name, instance);
    options.handlers = handlers;
    if (tram_signal_new(worker, SIGTERM, on_term, NULL, &term) < 0 ||
        tram_server_new(worker, address, &options, &server) < 0)
        die(address);
    (void) tram_worker_run(worker);
    (void) tram_worker_free(worker);
    return 0;
}

static tram_client *connect_to(const char *name, unsigned instance) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    char address[64];
    tram_client *client;

    (void) snprintf(address, sizeof(address), "svc://game/%s:%u", name, instance);
    options.flags = TRAM_CLIENT_WAIT; /* it comes back */
    if (tram_client_new(worker, address, &options, &client) < 0)
        die(address);
    return client;
}

/* A request that cannot be answered now is given up: who asked does not know how it ended. */
static void answer(tram_request **request, const struct purchase *purchase) {
    if (tram_reply_send(request, purchase, sizeof(*purchase)) < 0)
        *request = tram_request_free(*request);
}

/* What came in, or NULL: answered with an error. */
static const struct purchase *read_purchase(tram_request **request, struct purchase *purchase) {
    const struct tram_view *view = tram_request_view(*request);

    if (view->size == sizeof(*purchase))
        memcpy(purchase, view->data, sizeof(*purchase));
    if (view->size != sizeof(*purchase) || purchase->player >= PLAYERS ||
        purchase->number >= NUMBERS) {
        (void) tram_reply_error(request, 1, "no purchase");
        return NULL;
    }
    purchase->again |= view->attempt > 1;
    return purchase;
}

/* ---- the database ---------------------------------------------------------------------------- */

static struct {
    int journal;
    uint8_t booked[PLAYERS][NUMBERS];
} db;

static void read_journal(const char *path) {
    FILE *file = fopen(path, "re");
    unsigned player, number, amount;

    while (file != NULL && fscanf(file, "%u %u %u", &player, &number, &amount) == 3) {
        if (player < PLAYERS && number < NUMBERS)
            db.booked[player][number] = 1;
    }
    if (file != NULL)
        (void) fclose(file);
    db.journal = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (db.journal < 0)
        die(path);
}

static void on_book(tram_server *self, tram_request **request, void *arg) {
    struct purchase purchase;
    char line[LINE + 1];

    (void) self;
    (void) arg;
    if (read_purchase(request, &purchase) == NULL)
        return;
    if (!db.booked[purchase.player][purchase.number]) {
        (void) snprintf(line, sizeof(line), "%8u %10u %10u%c\n", purchase.player, purchase.number,
                        purchase.amount, ' ');
        if (write(db.journal, line, LINE) != LINE) {
            (void) tram_reply_error(request, 2, "the journal cannot be written");
            return;
        }
        db.booked[purchase.player][purchase.number] = 1;
    } else if (purchase.again) {
        printf("db again %u %u\n", purchase.player, purchase.number);
    } else {
        printf("db unmarked %u %u\n", purchase.player, purchase.number);
    }
    answer(request, &purchase);
}

static int run_db(const char *path) {
    static const struct tram_server_handlers handlers = {.on_request = on_book};

    make_worker(TRAM_ID(2, 0, 0, 1)); /* one who lives keeps others away from the journal, too */
    read_journal(path);
    return serve("db", 1, &handlers);
}

/* ---- rooms and gates hand on ----------------------------------------------------------------- */

static struct {
    tram_client *next[ROOMS]; /* of a gate; a room has one, the database */
    tram_server *topic;       /* of a room */
    unsigned number;
    uint64_t purchases;
    uint64_t said;
} hop;

static void say(void) {
    struct tram_how how = TRAM_HOW_INIT;
    struct chat chat = {.room = hop.number, .pid = getpid(), .number = hop.said + 1};
    char topic[32];

    (void) snprintf(topic, sizeof(topic), "room/%u", hop.number);
    how.topic = topic;
    if (tram_server_publish(hop.topic, CHAT, &chat, sizeof(chat), &how) == 0)
        hop.said++;
}

static void on_answer(const struct tram_result *result, void *arg) {
    tram_request *request = arg;
    struct purchase purchase;

    if (result->status == 0 && result->view.size == sizeof(purchase)) {
        memcpy(&purchase, result->view.data, sizeof(purchase));
        answer(&request, &purchase);
        if (hop.topic != NULL && ++hop.purchases % CHAT_EVERY == 0)
            say();
    } else if (tram_reply_error(&request, result->code != 0 ? result->code : result->status,
                                result->text) < 0) { /* as it was said first */
        (void) tram_request_free(request);
    }
}

static void on_hand_on(tram_server *self, tram_request **request, void *arg) {
    struct purchase purchase;
    tram_client *next;
    int rc;

    (void) self;
    (void) arg;
    if (read_purchase(request, &purchase) == NULL)
        return;
    next = hop.topic != NULL ? hop.next[0] : hop.next[purchase.player % ROOMS];
    rc = tram_client_ask(next, PURCHASE, &purchase, sizeof(purchase), NULL, on_answer, *request,
                         NULL);
    if (rc < 0)
        (void) tram_reply_error(request, rc, "it cannot be handed on");
    else
        *request = NULL; /* on_answer has it */
}

static int run_hop(bool room, unsigned number) {
    static const struct tram_server_handlers handlers = {.on_request = on_hand_on};

    hop.number = number;
    make_worker(TRAM_ID(2, 0, room ? 1 : 2, number + 1));
    if (room) {
        hop.next[0] = connect_to("db", 1);
        if (tram_server_new(worker, "topic://chat", NULL, &hop.topic) < 0)
            die("topic://chat");
    } else {
        for (unsigned at = 0; at < ROOMS; at++)
            hop.next[at] = connect_to("room", at);
    }
    return serve(room ? "room" : "gate", number, &handlers);
}

/* ---- a player -------------------------------------------------------------------------------- */

struct life {
    int32_t pid;
    uint64_t last;
};

static struct {
    unsigned number;
    FILE *told;
    tram_client *gate;
    uint64_t asked, answered, unknown, sum, chat, missed, wrong;
    int64_t began[NUMBERS];
    int64_t longest;
    struct life rooms[ROOMS][512];
    bool ending;
} player;

static int64_t now(void) {
    struct timespec time;

    (void) clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void look_for_end(void) {
    if (player.ending && player.answered + player.unknown == player.asked)
        (void) tram_worker_stop(worker, 0);
}

/* What it was told of each: booked, or (an error on the way) nobody knows. */
static void on_bought(const struct tram_result *result, void *arg) {
    uint32_t number = (uint32_t) (uintptr_t) arg;
    int64_t took = now() - player.began[number];
    struct purchase purchase;

    if (took > player.longest)
        player.longest = took;
    if (result->status == 0 && result->view.size == sizeof(purchase)) {
        memcpy(&purchase, result->view.data, sizeof(purchase));
        player.wrong += purchase.number != number || purchase.player != player.number;
        player.answered++;
        player.sum += purchase.amount;
        (void) fprintf(player.told, "%u %u %u\n", player.number, number, purchase.amount);
    } else {
        player.unknown++;
        (void) fprintf(player.told, "%u %u unknown %d %d %s\n", player.number, number,
                       result->status, result->code, result->text);
    }
    look_for_end();
}

static void on_buy(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct purchase purchase = {.player = player.number, .number = (uint32_t) player.asked};

    (void) timer;
    (void) late_ns;
    (void) missed;
    (void) arg;
    if (player.ending || player.asked == NUMBERS ||
        player.asked - player.answered - player.unknown >= OPEN_MAX_EACH)
        return;
    purchase.amount = 1 + (purchase.number * 7919 + player.number) % 100;
    player.began[player.asked] = now();
    if (tram_client_ask(player.gate, PURCHASE, &purchase, sizeof(purchase), NULL, on_bought,
                        (void *) (uintptr_t) purchase.number, NULL) == 0)
        player.asked++;
}

/* Lines of one life of a room come in order, each once, and what is missing is said. */
static void on_chat(tram_subscription *subscription, const struct tram_view *view, int status,
                    void *arg) {
    struct chat chat;
    struct life *life;

    (void) subscription;
    (void) status;
    (void) arg;
    if (view == NULL || view->size != sizeof(chat)) {
        player.wrong++;
        return;
    }
    memcpy(&chat, view->data, sizeof(chat));
    life = player.rooms[chat.room % ROOMS];
    while (life->pid != 0 && life->pid != chat.pid)
        life++; /* game.sh kills less often than there is room for */
    if (life->pid != 0 && chat.number != life->last + 1 + view->missed)
        player.wrong++;
    *life = (struct life) {.pid = chat.pid, .last = chat.number};
    player.chat++;
    player.missed += view->missed;
}

static void on_end(tram_signal *term, int number, void *arg) {
    (void) term;
    (void) number;
    (void) arg;
    player.ending = true;
    look_for_end();
}

static int run_player(unsigned number, const char *path) {
    tram_client *chat;
    tram_timer *timer;
    tram_signal *term;

    player.number = number;
    player.told = fopen(path, "we");
    if (player.told == NULL)
        die(path);
    make_worker(TRAM_ID(2, 0, 3, number + 1));
    player.gate = connect_to("gate", number % GATES);
    if (tram_client_new(worker, "topic://chat", NULL, &chat) < 0 ||
        tram_client_subscribe(chat, CHAT, "room/*", NULL, on_chat, NULL, NULL) < 0 ||
        tram_signal_new(worker, SIGTERM, on_end, NULL, &term) < 0 ||
        tram_timer_new(worker, on_buy, NULL, &timer) < 0 ||
        tram_timer_set(timer, 0, BUY_NS) < 0)
        die("player");
    (void) tram_worker_run(worker);
    (void) tram_worker_free(worker);
    (void) fclose(player.told);
    printf("player %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
           " %" PRId64 " %" PRIu64 "\n",
           number, player.asked, player.answered, player.unknown, player.sum, player.chat,
           player.missed, player.longest / 1000000, player.wrong);
    return 0;
}

int main(int argc, char **argv) {
    const char *role = argc > 2 ? argv[1] : "";
    unsigned number = argc > 2 ? (unsigned) atoi(argv[2]) : 0;

    (void) setvbuf(stdout, NULL, _IOLBF, 0); /* a kill loses no line */
    if (strcmp(role, "db") == 0)
        return run_db(argv[2]);
    if (strcmp(role, "room") == 0 && number < ROOMS)
        return run_hop(true, number);
    if (strcmp(role, "gate") == 0 && number < GATES)
        return run_hop(false, number);
    if (strcmp(role, "player") == 0 && number < PLAYERS && argc > 3)
        return run_player(number, argv[3]);
    (void) fprintf(stderr, "game: started by demo/game.sh; see demo/game.c\n");
    return 2;
}
