/* SPDX-License-Identifier: MIT
 *
 * Growing: a channel goes on in a successor stream, and the old one is removed when it is drained.
 *
 * Code: out_grow, grow_into, switch_stream, out_reap_old (src/node/grow.c), attach, open_channel,
 * open_old, finish_link, outs_resume (out.c), ring_tx_link (src/ring/tx.c), files_generations
 * (files.c); in_succeed, next_stream, find_generation, in_map, in_give (in.c), ring_rx_succeed
 * (src/ring/rx.c).
 *
 * Abstracted: a position is a record: a message or a link. What a record says is a word of its own,
 * that may be seen later than the tail if nothing orders them. Space is never short: the sender
 * grows when it likes, and stages messages (TRAM_MORE) if STAGE. The receiver may hold what it was
 * given, and release it all at once, later. Both ends are killed and succeeded; each file that is
 * opened, made or unlinked is a step. The words of the door are in order at once (wake.pml).
 *
 * check: MSGS=2 GROWS=1 SDEATHS=1
 * check: MSGS=2 GROWS=1 DDEATHS=1
 * check: MSGS=1 GROWS=2 DDEATHS=1
 * check: MSGS=2 GROWS=1 SDEATHS=1 STAGE=1
 * soak: MSGS=3 GROWS=2 SDEATHS=1 DDEATHS=1
 * soak: MSGS=3 GROWS=2 SDEATHS=2 DDEATHS=1
 * soak: MSGS=3 GROWS=2 SDEATHS=1 DDEATHS=1 STAGE=1
 */
#include "model.h"

#define LINK_FIRST   (broken == 1)  /* no_broken_channel: the link before the new stream is made */
#define UNLINKS      (broken == 2)  /* no_broken_channel, SDEATHS=0 DDEATHS=1:
        the old stream goes when it is linked */
#define UNLINKS_SEEN (broken == 3)  /* no_broken_channel, SDEATHS=0 DDEATHS=1:
        it goes when it was read, not released */
#define NO_FINISH    (broken == 4)  /* no_lost_message: a successor goes on without linking */
#define TWICE        (broken == 5)  /* no_broken_channel: a successor links what is linked */
#define OLD_STREAM   (broken == 6)  /* no_lost_message: a successor goes on in the old stream */
#define NO_T1        (broken == 7)  /* no_broken_channel: the tail is seen before the record */
#define NEWEST       (broken == 8)  /* no_broken_channel, SDEATHS=0 DDEATHS=1:
        it opens the newest stream, come what may */
#define STAGED       (broken == 9)  /* no_broken_channel, STAGE=1: grows over staged messages */
#define LINK_COUNTS  (broken == 10) /* no_broken_channel: the new stream begins at the link */
#define LINK_TAKES   (broken == 11) /* no_lost_message: a link commits what is held before it */
#define MUTE         (broken == 12) /* no_lost_message: a successor that links does not ring */
#define NO_COUNT     (broken == 13) /* no_two_rings, MSGS=2: a new stream begins to count anew */
/* And what is not needed: these must not fail. */
#define LINK_MUTE    (broken == 14) /* nothing: a link does not ring: the next message will */

#define STREAMS 3
#define RECORDS 6
#define LINK 200

byte MSGS, GROWS, STAGE;
byte sdeaths, ddeaths;
bit kill[2]; /* 0: the sender, 1: the receiver */

bit made[STREAMS];                        /* in place */
byte base[STREAMS];                       /* position of its first record */
byte tail[STREAMS], tail_m[STREAMS];
byte accepted;                            /* messages up to the newest tail */
byte record[RECORDS], record_m[RECORDS];  /* by position: a message's number, or LINK */
byte head, committed, consumed;           /* the receiver's words; the last two are one (slots) */
byte released;                            /* by the application; not shared */
byte seen;                                /* what was read; only UNLINKS_SEEN looks at it */
byte armed, rung;                         /* as in wake.pml */
bit bits, asleep, bell;

bit no_broken_channel = 1;
bit no_lost_message = 1;
bit no_two_rings = 1;

#define ON(a) ((a) & 1)

#define STEP atomic /* at most one access to what others see, in each */

/* Release: the records before the tail are seen first. */
inline publish_fence() {
    d_step {
        record_m[0] = record[0]; record_m[1] = record[1]; record_m[2] = record[2];
        record_m[3] = record[3]; record_m[4] = record[4]; record_m[5] = record[5];
        tail_m[0] = tail[0]; tail_m[1] = tail[1]; tail_m[2] = tail[2]
    }
}

/* armed, and the knock; at once, as in wake.pml they are shown to be. */
inline tell(mute) {
    if
    :: !mute && ON(armed) && armed != rung ->
        rung = armed;
        bits = 1;
        if
        :: asleep -> bell = 1
        :: else
        fi
    :: else
    fi
}

/* Staged, or published: then the fence, if anything orders the record and the tail. */
inline publish(which) {
    tail[which] = pos;
    accepted = sent;
    if
    :: NO_T1 -> tail_m[which] = tail[which]
    :: else -> publish_fence()
    fi
}

inline write_link(old) {
    record[pos] = LINK;
    pos++;
    publish(old)
}

#define DRAINED(old) (stream > (old) &&                                                            \
                      ((UNLINKS_SEEN -> seen : head) >= base[(old) + 1] || UNLINKS))

#define REAP /* out_reap_old: the oldest first */                                                  \
    STEP {                                                                                         \
        if                                                                                         \
        :: made[0] && DRAINED(0) -> made[0] = 0                                                    \
        :: !made[0] && made[1] && DRAINED(1) -> made[1] = 0                                        \
        :: else                                                                                    \
        fi                                                                                         \
    }

proctype sender() {
    byte pos, stream, sent;
    bit again;

life:
    {
        STEP {
            if
            :: again -> goto resume
            :: else
            fi
        };
send:
        STEP {
            if
            :: sent < MSGS ->
                sent++; record[pos] = sent; pos++; /* ring_tx_stage */
                if
                :: STAGE && sent < MSGS -> goto send
                :: publish(stream)
                fi
            :: stream < GROWS && sent < MSGS && (tail[stream] == pos || STAGED) -> goto grow
            :: stream < GROWS && sent < MSGS && tail[stream] != pos -> publish(stream)
            :: sent == MSGS -> goto done
            fi
        };
        STEP { tell(0) };
        REAP;
        goto send;

grow: /* out_grow, grow_into */
        STEP {
            if
            :: LINK_FIRST -> write_link(stream)
            :: else
            fi
        };
        STEP { /* stream_make */
            base[stream + 1] = pos + (LINK_FIRST || LINK_COUNTS -> 0 : 1);
            tail[stream + 1] = base[stream + 1];
            tail_m[stream + 1] = base[stream + 1];
            made[stream + 1] = 1;
            stream++
        };
        STEP {
            if
            :: LINK_FIRST
            :: else -> write_link(stream - 1)
            fi;
            if
            :: LINK_COUNTS -> pos--
            :: else
            fi
        };
        STEP { tell(LINK_MUTE) };
        REAP;
        goto send;

resume: /* files_generations, open_channel */
        STEP {
            if
            :: OLD_STREAM && made[0] -> stream = 0
            :: made[2] && !(OLD_STREAM && made[0]) -> stream = 2
            :: !made[2] && made[1] && !(OLD_STREAM && made[0]) -> stream = 1
            :: else -> stream = 0
            fi;
            pos = tail[stream];
            sent = (NO_COUNT && stream > 0 && pos == base[stream] -> 0 : accepted)
        };
        STEP { /* open_old, finish_link */
            if
            :: stream > 0 && made[stream - 1] && !NO_FINISH &&
               (tail[stream - 1] != base[stream] || TWICE) && (head < base[stream] || TWICE) ->
                MUST(no_broken_channel, tail[stream - 1] + 1 == base[stream]);
                pos = tail[stream - 1];
                write_link(stream - 1)
            :: else
            fi
        };
        STEP { tell(MUTE) }; /* outs_resume */
        goto send;
done:
        STEP {
            if
            :: made[0] && stream > 0 && head >= base[1] -> made[0] = 0
            :: !made[0] && made[1] && stream > 1 && head >= base[2] -> made[1] = 0
            fi
        };
        goto done
    } unless {
        STEP {
            kill[0];
            publish_fence();
            kill[0] = 0; pos = 0; stream = 0; rung = 0; sent = 0; again = 1;
            goto life
        }
    }
}

inline arm() {
    if
    :: rung != armed -> rung = 0
    :: else
    fi;
    armed = (rung == 3 -> 5 : 3)
}

#define READY (hot && tail_m[stream] > pos)

proctype receiver() {
    byte pos, last, stream;
    bit hot, lit;

life:
    {
        STEP {
            asleep = 0; bell = 0; bits = 0;
            pos = committed; last = consumed; stream = STREAMS
        };
        do /* find_generation: from the newest down */
        :: STEP {
            stream > 0 -> stream--;
            if
            :: made[stream] && (base[stream] <= committed || NEWEST) -> break
            :: else
            fi
        }
        :: stream == 0 -> MUST(no_broken_channel, 0)
        od;
        STEP {
            MUST(no_broken_channel, base[stream] <= pos);
            armed = armed & 254; hot = 1
        };
        goto release;

look:
        STEP {
            if
            :: READY ->
                if
                :: record_m[pos] == LINK -> goto link
                :: else ->
                    MUST(no_broken_channel, record_m[pos] != 0 && record_m[pos] <= MSGS);
                    MUST(no_two_rings, record_m[pos] > last);
                    MUST(no_lost_message, record_m[pos] == last + 1);
                    last = record_m[pos]; pos++; seen = pos;
                    goto release
                fi
            :: bits -> goto wake
            :: !READY && !bits -> goto rest
            fi
        };

link: /* in_succeed */
        STEP {
            MUST(no_broken_channel, made[stream + 1] && base[stream + 1] == pos + 1);
            if /* it is consumed with the message before it */
            :: committed == pos || LINK_TAKES -> committed = pos + 1; consumed = last
            :: else
            fi;
            MUST(no_lost_message, consumed <= released);
            pos++; stream++; seen = pos
        };

release: /* all that is in hand, now or later */
        STEP {
            if
            :: committed != pos -> released = last; committed = pos; consumed = last
            :: goto look
            fi
        };
        STEP {
            if
            :: head != committed -> head = committed
            :: skip
            fi;
            goto look
        };

rest:
        STEP { released = last; committed = pos; consumed = last };
        STEP {
            head = committed;
            if
            :: hot -> arm()
            :: else -> goto sleep
            fi
        };
        STEP {
            if
            :: tail_m[stream] > pos -> armed = armed & 254; goto look
            :: else -> hot = 0
            fi
        };
sleep:
        STEP {
            if
            :: lit -> bell = 0; lit = 0
            :: else
            fi;
            asleep = 1
        };
        STEP {
            if
            :: bits -> goto wake
            :: else
            fi
        };
        STEP { bell -> lit = 1 };
wake:
        STEP {
            asleep = 0;
            if
            :: bits -> bits = 0; armed = armed & 254; hot = 1
            :: else
            fi;
            goto look
        }
    } unless {
        STEP {
            kill[1];
            kill[1] = 0;
            pos = 0; last = 0; stream = 0; hot = 0; lit = 0;
            goto life
        }
    }
}

/* Without T1 the records come when they like. */
proctype memory() {
    do
    :: NO_T1 && record_m[0] != record[0] -> publish_fence()
    :: NO_T1 && record_m[1] != record[1] -> publish_fence()
    od
}

proctype reaper() {
    do
    :: d_step { sdeaths > 0 && !kill[0] -> sdeaths--; kill[0] = 1 }
    :: d_step { ddeaths > 0 && !kill[1] -> ddeaths--; kill[1] = 1 }
    :: d_step { sdeaths > 0 || ddeaths > 0 -> sdeaths = 0; ddeaths = 0 }
    :: sdeaths == 0 && ddeaths == 0 -> break
    od
}

proctype judge() {
    timeout;
    MUST(no_lost_message, accepted == MSGS && consumed == MSGS)
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.MSGS = world("MSGS", 2);
            now.GROWS = world("GROWS", 1);
            now.STAGE = world("STAGE", 0);
            now.sdeaths = world("SDEATHS", 0);
            now.ddeaths = world("DDEATHS", 0);
        }
        made[0] = 1
    };
    atomic {
        run memory(); run sender(); run receiver(); run reaper(); run judge()
    }
}
