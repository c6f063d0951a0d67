/* SPDX-License-Identifier: MIT
 *
 * Removing a receiver (`tram rm`), while its sender sends to it and while it is opened.
 *
 * Code: custody_take, remove_node, close_all, open_all, set_armed, count_waiting, remove_in, decide,
 * make_final, remove_names, remove_rest, custody_bury (src/node/custody.c), channel_look,
 * head_is_final, files_generations, files_node_dir (files.c); out_get, find_or_make, attach,
 * make_channel, open_channel, outlive_remover, publish_slow, removed_or_accepted, reopen,
 * still_there, is_consumed, out_revive (out.c); take_identity, take_custody (open.c), in_map,
 * in_open, found, is_replaced (in.c).
 *
 * Abstracted: one channel at a time, of one stream. Directory, lock file, head and stream are
 * numbers: which one has the name, and 0 if none has; who made or opened one keeps its number, as a
 * descriptor or a mapping does. Each look at a name, at a lock, each rename and unlink is a step. A
 * message that was refused is sent again, as an application would. The removers do not force. A
 * remover, and a sender that attaches, may die. No clock: who attaches waits until a remover is
 * through, or dead; who has published waits for nobody. So a remover that is stopped is one who
 * takes no step.
 *
 * check: MSGS=1
 * check: MSGS=1 TRIES=2
 * check: MSGS=1 RDEATHS=1
 * check: MSGS=1 SDEATHS=1
 * check: MSGS=1 LIVES=1
 * soak: MSGS=2 TRIES=2 LIVES=1 RDEATHS=1
 * soak: MSGS=2 TRIES=2 LIVES=1 SDEATHS=1
 * soak: MSGS=2 TRIES=1 LIVES=1 RDEATHS=1 SDEATHS=1
 * soak: MSGS=2 RMS=2
 * soak: MSGS=1 RMS=2 RDEATHS=1
 * soak: MSGS=1 RMS=2 LIVES=1
 */
#include "model.h"

#define NO_F1        (broken == 1)  /* no_lost_message: tail and armed without fence */
#define NO_F2        (broken == 2)  /* no_lost_message:
        the remover's armed and tail without fence */
#define ONE_LOOK     (broken == 3)  /* no_lost_message, TRIES=2:
        what was made since it closed is not looked at */
#define UNCLOSED     (broken == 4)  /* no_lost_message, TRIES=2:
        what was made since is not closed first */
#define NO_OUTLIVE   (broken == 5)  /* no_lost_message: a sender that attaches minds no remover */
#define TRUSTS       (broken == 6)  /* no_lost_message:
        a sender that sees it closed says accepted */
#define GIVES_UP     (broken == 7)  /* no_lost_message:
        one that sees it closed says refused at once */
#define PLAIN_TAKE   (broken == 8)  /* no_lost_message: takes it back by a load and a store */
#define NO_FINAL     (broken == 9)  /* no_lost_message: the remover looks and unlinks, undecided */
#define NO_CONSUMED  (broken == 10) /* no_two_rings, LIVES=1: does not ask what was consumed */
#define FINAL_STORED (broken == 11) /* no_lost_message: decides though it was taken back */
#define NO_NLINK     (broken == 12) /* no_lost_message, MSGS=2 RMS=2:
        acts in a directory that is removed */
#define MAKER_ONLY   (broken == 13) /* no_lost_message, SDEATHS=1:
        only who made the files minds a remover */
#define HEAD_ONLY    (broken == 14) /* no_lost_message, SDEATHS=1:
        asks for its head only, not for its stream */
#define BY_IDENTITY  (broken == 15) /* no_lost_message, LIVES=1:
        a remover is who has byte 1 and not 0 */
#define LEAVES       (broken == 16) /* no_broken_channel, LIVES=1:
        the head is made beside an old stream */
#define FINAL_TRUST  (broken == 17) /* no_lost_message: what is final is accepted all the same */
#define DELIVERS     (broken == 18) /* no_two_rings, LIVES=1 RDEATHS=1:
        a receiver opens what is final */
#define GOES_ON      (broken == 19) /* no_lost_message, RDEATHS=1:
        a sender attaches to what is final */
#define UNDECIDES    (broken == 20) /* no_lost_message, LIVES=1 RDEATHS=1:
        an opener makes it usable again */
#define NO_SENDER    (broken == 21) /* no_lost_message, LIVES=1 RDEATHS=1:
        buries beside the sender */
/* And what is not needed: these must not fail. */
#define HEAD_FIRST   (broken == 22) /* nothing: the head is unlinked before the stream */
#define LEFT_CLOSED  (broken == 23) /* nothing, LIVES=1: an opener does not clear the closed bit */
#define LEFT_SHUT    (broken == 24) /* nothing: a remover that refuses does not clear it */

#define NUMBERS 14 /* of each kind, from 1 */
#define SENDER 1
#define RECEIVER 1 /* who holds a custody; removers: 2, 3 */

byte MSGS, RMS, TRIES;
byte lives, rdeaths, sdeaths;
bit kill[4];
bit attaching, final;

byte directory, directories; /* the one that has the name; how many were made */
byte lock, locks;
byte head, stream, channels; /* a channel's head and stream have the same number */
byte custody[NUMBERS];
bit identity[NUMBERS], removal[NUMBERS];

byte tail[NUMBERS], tail_m[NUMBERS];
byte armed[NUMBERS], armed_m[NUMBERS]; /* 1 closed, 2 final */
byte sender_custody;                   /* 1 the sender, 2 the receiver, who buries */
byte committed[NUMBERS];
byte first[NUMBERS];                   /* number of the first message in it */
byte accepted, received;

bit no_lost_message = 1;
bit no_two_rings = 1;
bit no_broken_channel = 1;
bit model_large_enough = 1;

#define CLOSED(a) ((a) & 1)
#define FINAL(a) ((a) & 2)
#define STEP atomic /* at most one access to what others see, in each */

#define UNLESS(without, what)                                                                      \
    if                                                                                             \
    :: without                                                                                     \
    :: else -> what                                                                                \
    fi

#define NEW(number, count)                                                                         \
    count++;                                                                                       \
    MUST(model_large_enough, count < NUMBERS);                                                     \
    number = count

/* removal_under_way, has_remover: does anybody remove? */
#define UNDER_WAY (directory && lock && REMOVES)
#define REMOVER (!directory || !lock || REMOVES)
#define REMOVES (BY_IDENTITY -> custody[lock] && !identity[lock] : removal[lock])

proctype sender() {
    byte dir, mine, a, number;
    bit made;

life:
    {
        STEP { sender_custody == 0 -> sender_custody = 1 };
send:
        STEP {
            if
            :: accepted == MSGS -> goto done
            :: mine == 0 -> goto get
            :: else
            fi
        };
        STEP { /* ring_tx_publish */
            if
            :: tail[mine] == 0 -> first[mine] = accepted + 1
            :: else
            fi;
            tail[mine]++;
            UNLESS(NO_F1, tail_m[mine] = tail[mine])
        };

closed: /* removed_or_accepted */
        STEP {
            a = armed_m[mine];
            if
            :: FINAL(a) && !TRUSTS -> a = 0; goto removed
            :: CLOSED(a) && !FINAL(a) && !TRUSTS
            :: else -> a = 0; goto said
            fi;
            if
            :: GIVES_UP -> a = 0; goto refused
            :: !GIVES_UP && PLAIN_TAKE
            :: else -> a = 0
            fi
        };
        STEP { /* reopen: by its name */
            if
            :: head != mine -> a = 0; goto removed
            :: else
            fi
        };
        STEP { /* one step: what is pending comes after it */
            if
            :: PLAIN_TAKE -> armed_m[mine] = a & 2; armed[mine] = a & 2; a = 0
            :: !PLAIN_TAKE && armed[mine] == armed_m[mine] ->
                armed[mine] = armed[mine] & 254; armed_m[mine] = armed[mine]
            :: !PLAIN_TAKE && armed[mine] != armed_m[mine] -> armed_m[mine] = armed_m[mine] & 254
            fi;
            goto closed
        };
removed:
        STEP {
            if
            :: (committed[mine] >= tail[mine] && !NO_CONSUMED) || FINAL_TRUST ->
                mine = 0; accepted++; goto send
            :: else
            fi
        };
refused:
        STEP { mine = 0; goto send }; /* again */
said:
        STEP {
            accepted++;
            goto send
        };

get: /* out_get, find_or_make */
        STEP {
            attaching = 1; made = 0; mine = 0; number = 0;
            if
            :: directory -> dir = directory
            :: else -> NEW(directory, directories); dir = directory
            fi
        };
        STEP {
            if
            :: directory == dir && head && stream -> number = head
            :: else -> made = 1; goto make
            fi
        };
        STEP { /* attach: head_is_final */
            if
            :: FINAL(armed_m[number]) && !GOES_ON -> number = 0
            :: else -> number = 0; goto open
            fi
        };
        STEP { /* custody_unlink_channel */
            if
            :: directory == dir -> stream = 0
            :: else
            fi
        };
        STEP {
            if
            :: directory == dir -> head = 0
            :: else
            fi;
            made = 1
        };
make:
        STEP { /* make_channel: what a remover left of the last one goes first */
            if
            :: directory == dir && !LEAVES -> stream = 0
            :: else
            fi
        };
        STEP {
            if
            :: directory == dir -> NEW(head, channels); number = head
            :: else -> goto get
            fi
        };
        STEP {
            if
            :: directory == dir -> stream = number
            :: else -> goto get
            fi
        };
open:
        STEP {
            if
            :: directory == dir && head -> mine = head
            :: else -> goto get
            fi
        };
        STEP {
            if
            :: directory == dir && stream ->
                MUST(no_broken_channel, stream == mine)
            :: else -> goto get
            fi
        };
        STEP { /* outlive_remover */
            if
            :: NO_OUTLIVE || (MAKER_ONLY && !made) -> goto attached
            :: else
            fi
        };
        STEP { !UNDER_WAY };
        STEP {
            if
            :: head == mine && (stream == mine || HEAD_ONLY)
            :: else -> goto get
            fi
        };
attached:
        STEP { attaching = 0; made = 0; dir = 0; number = 0; goto send };
done:
        false
    } unless {
        STEP {
            kill[0];
            kill[0] = 0;
            attaching = 0; dir = 0; mine = 0; a = 0; number = 0; made = 0;
            sender_custody = 0;
            goto life
        }
    }
}

/* set_armed, on what has the name. */
#define CLOSE                                                                                      \
    STEP { number = (directory == dir -> head : 0); old = 0 };                                     \
    STEP {                                                                                         \
        if                                                                                         \
        :: number -> old = armed[number]                                                           \
        :: else                                                                                    \
        fi                                                                                         \
    };                                                                                             \
    STEP {                                                                                         \
        if                                                                                         \
        :: number ->                                                                               \
            armed[number] = old | 1;                                                               \
            UNLESS(NO_F2, armed_m[number] = armed[number])                                         \
        :: else                                                                                    \
        fi                                                                                         \
    }

#define WAITING                                                                                    \
    (directory == dir && head && stream == head && !FINAL(armed[head]) &&                          \
     tail_m[head] > committed[head])

#define TAKE_CUSTODY(failed)                                                                       \
    STEP {                                                                                         \
        if                                                                                         \
        :: directory -> dir = directory                                                            \
        :: else -> goto failed                                                                     \
        fi                                                                                         \
    };                                                                                             \
    STEP {                                                                                         \
        if                                                                                         \
        :: directory != dir -> goto failed                                                         \
        :: directory == dir && !lock -> NEW(lock, locks); mine = lock                              \
        :: else -> mine = lock                                                                     \
        fi                                                                                         \
    };                                                                                             \
    STEP {                                                                                         \
        if                                                                                         \
        :: custody[mine] == 0 -> custody[mine] = me                                                \
        :: else -> mine = 0; goto failed                                                           \
        fi                                                                                         \
    };                                                                                             \
    STEP {                                                                                         \
        if                                                                                         \
        :: identity[mine] -> goto failed                                                           \
        :: else                                                                                    \
        fi                                                                                         \
    };                                                                                             \
    STEP {                                                                                         \
        if                                                                                         \
        :: (lock != mine || directory != dir) && !NO_NLINK -> goto failed                          \
        :: else -> removal[mine] = 1                                                               \
        fi                                                                                         \
    }

proctype remover(byte me) {
    byte dir, mine, number, old, tries;

    {
        TAKE_CUSTODY(done);
        CLOSE; /* close_all */
        STEP {
            if
            :: WAITING -> goto undo
            :: else
            fi
        };

again: /* remove_in, decide */
        STEP {
            if
            :: directory == dir && head
            :: else -> goto rest
            fi
        };
        if
        :: UNCLOSED
        :: else -> CLOSE
        fi;
        STEP {
            if
            :: WAITING && !ONE_LOOK -> goto undo
            :: else
            fi
        };
        STEP { /* make_final: one step, behind all that is pending */
            if
            :: !number || NO_FINAL
            :: number && !NO_FINAL ->
                armed_m[number] = armed[number];
                if
                :: CLOSED(armed[number]) || FINAL(armed[number]) || FINAL_STORED ->
                    armed[number] = armed[number] | 2; armed_m[number] = armed[number]
                :: else -> goto again
                fi
            fi
        };
        STEP {
            if
            :: directory == dir && HEAD_FIRST -> head = 0
            :: directory == dir && !HEAD_FIRST -> stream = 0
            :: else
            fi
        };
        STEP {
            if
            :: directory == dir && HEAD_FIRST -> stream = 0
            :: directory == dir && !HEAD_FIRST -> head = 0
            :: else
            fi
        };

rest: /* remove_rest */
        STEP {
            if
            :: directory == dir && stream && !head
            :: else -> goto unlock
            fi
        };
        STEP {
            if
            :: directory == dir -> stream = 0
            :: else
            fi
        };
unlock:
        STEP {
            if
            :: directory == dir -> lock = 0
            :: else
            fi
        };
        STEP {
            if
            :: directory != dir -> goto done
            :: directory == dir && !head && !stream && !lock -> directory = 0; goto done
            :: else -> removal[mine] = 0; custody[mine] = 0; mine = 0; tries++
            fi;
            if
            :: tries == TRIES -> goto done
            :: else
            fi
        };
        TAKE_CUSTODY(done);
        goto again;

undo: /* open_all */
        STEP {
            number = (directory == dir -> head : 0);
            if
            :: LEFT_SHUT -> goto done
            :: else
            fi
        };
        STEP {
            if
            :: number -> armed[number] = armed[number] & 254; armed_m[number] = armed[number]
            :: else
            fi
        };
done:
        STEP {
            if
            :: mine -> removal[mine] = 0; custody[mine] = 0
            :: else
            fi;
            dir = 0; mine = 0; number = 0; old = 0; tries = 0
        }
    } unless {
        STEP {
            kill[me];
            kill[me] = 0;
            if
            :: mine && custody[mine] == me -> removal[mine] = 0; custody[mine] = 0
            :: else
            fi;
            if
            :: number -> armed_m[number] = armed[number]
            :: else
            fi;
            dir = 0; mine = 0; number = 0; old = 0
        }
    }
}

/* What is final lies there as long as the sender runs, and does not send. */
#define SEEN (!FINAL(armed_m[head]) || DELIVERS || NO_SENDER || sender_custody == 0)

proctype receiver() {
    byte dir, mine, number, at;

life:
    STEP {
        if
        :: lives > 0 -> lives--
        :: timeout -> final = 1
        fi
    };
again: /* take_identity */
    STEP {
        if
        :: directory -> dir = directory
        :: else -> NEW(directory, directories); dir = directory
        fi
    };
    STEP {
        if
        :: directory != dir -> goto again
        :: directory == dir && !lock -> NEW(lock, locks); mine = lock
        :: else -> mine = lock
        fi
    };
    identity[mine] = 1;
    STEP { custody[mine] == 0 -> custody[mine] = RECEIVER };
    STEP {
        if
        :: (lock != mine || directory != dir) && !NO_NLINK ->
            identity[mine] = 0; custody[mine] = 0; goto again
        :: else
        fi
    };

scan: /* found, in_open, in_map */
    STEP {
        number = (directory == dir && stream -> head : 0);
        if
        :: number && FINAL(armed_m[number]) && !DELIVERS -> number = 0
        :: else -> goto open
        fi
    };
    STEP { /* custody_bury: only if the sender does not run */
        if
        :: UNDECIDES -> armed[head] = 0; armed_m[head] = 0; goto look
        :: !UNDECIDES && NO_SENDER
        :: !UNDECIDES && !NO_SENDER && sender_custody == 0 -> sender_custody = 2
        :: else -> goto look
        fi
    };
    STEP {
        if
        :: (directory == dir && head && FINAL(armed_m[head])) || NO_SENDER
        :: else -> goto buried
        fi
    };
    STEP {
        if
        :: directory == dir -> stream = 0
        :: else
        fi
    };
    STEP {
        if
        :: directory == dir -> head = 0
        :: else
        fi
    };
buried:
    STEP {
        if
        :: !NO_SENDER -> sender_custody = 0
        :: else
        fi;
        goto look
    };
open:
    STEP {
        if
        :: number && number != at && directory == dir && stream ->
            MUST(no_broken_channel, stream == number);
            at = number;
            if
            :: LEFT_CLOSED
            :: else -> armed[at] = armed[at] & 254
            fi;
            armed_m[at] = armed[at]
        :: else
        fi;
        number = 0
    };
look:
    STEP {
        if
        :: at && tail_m[at] > committed[at] ->
            MUST(no_two_rings, first[at] + committed[at] > received);
            MUST(no_lost_message, first[at] + committed[at] == received + 1);
            committed[at]++;
            received++;
            goto look
        :: directory == dir && head && stream && head != at && SEEN -> goto scan
        :: !final -> /* tram_close */
            identity[mine] = 0; custody[mine] = 0; at = 0; mine = 0; dir = 0;
            goto life
        fi
    }
}

/* What is pending for want of a fence. */
proctype memory() {
    do
    :: d_step { tail_m[1] != tail[1] -> tail_m[1] = tail[1] }
    :: d_step { tail_m[2] != tail[2] -> tail_m[2] = tail[2] }
    :: d_step { armed_m[1] != armed[1] -> armed_m[1] = armed[1] }
    :: d_step { armed_m[2] != armed[2] -> armed_m[2] = armed[2] }
    od
}

proctype reaper() {
    do
    :: d_step { sdeaths > 0 && attaching && !kill[0] -> sdeaths--; kill[0] = 1 }
    :: d_step { rdeaths > 0 && !kill[2] -> rdeaths--; kill[2] = 1 }
    :: d_step { sdeaths > 0 || rdeaths > 0 -> sdeaths = 0; rdeaths = 0 }
    :: sdeaths == 0 && rdeaths == 0 -> break
    od
}

proctype judge() {
    final && timeout;
    MUST(no_lost_message, accepted == MSGS && received == accepted)
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.MSGS = world("MSGS", 1);
            now.TRIES = world("TRIES", 1);
            now.RMS = world("RMS", 1);
            now.lives = world("LIVES", 0);
            now.rdeaths = world("RDEATHS", 0);
            now.sdeaths = world("SDEATHS", 0);
        };
        directory = 1; directories = 1; lock = 1; locks = 1 /* the receiver ran once */
    };
    atomic {
        run memory(); run sender(); run receiver(); run reaper(); run judge();
        run remover(2);
        if
        :: RMS > 1 -> run remover(3)
        :: else
        fi
    }
}
