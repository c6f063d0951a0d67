/* SPDX-License-Identifier: MIT
 *
 * Faults to order, for the test of the simulator (tests/sim/): does it find them? Compiled in there
 * alone (TRAM_BUGS); elsewhere BUG() is 0.
 */
#pragma once

enum bug {
    BUG_NONE,
    BUG_ACK_ON_ARRIVAL,     /* what arrived is said to be consumed */
    BUG_COMMIT_ACCEPTED,    /* the origin frees what has arrived, not what was consumed */
    BUG_HAND_LATE,          /* `handed` is not stored before bytes leave */
    BUG_HANDED_FELL,        /* a mirror of before has more than left since: taken for nonsense */
    BUG_RESUME_AT_SENT,     /* after a cut it goes on where it was, not where the mirror is */
    BUG_STALE_TURN,         /* DATA from before a stall is taken */
    BUG_STALE_SERIAL,       /* frames of a channel that was closed are taken for the next one's */
    BUG_KEEP_REST,          /* a part of a record from before the cut is taken for this one's */
    BUG_CREDIT_TWICE,       /* the mirror's space is promised again with each ACK */
    BUG_CREDIT_UNCOUNTED,   /* what was sent is not counted against the credit */
    BUG_FORGET_KICK,        /* a channel that got credit is not looked at again */
    BUG_LOSE_LAST_ACK,      /* once all is consumed, nobody says so */
    BUG_STALL_FOR_EVER,     /* nobody goes on after a stall */
    BUG_WAIT_FOR_EVER,      /* nobody asks again after LATER */
    BUG_TWO_CONNECTIONS,    /* what comes on the connection of before is read, too */
    BUG_FOLLOWER_DECIDES,   /* the follower takes what it likes */
    /* … of the store, which the simulator has for the daemon's. */
    BUG_NO_UNSURE,          /* a mirror made anew forgets what may have been handed out */
    BUG_NO_PAST,            /* a drained mirror that was removed is made from 0 */
    BUG_NO_STREAM,          /* a stream is told by its ends alone */
    BUG_NO_WAIT,            /* a new stream does not wait for the old one */
    BUG_NO_TAIL_CHECK,      /* after a cut it goes on at what was consumed, and nobody compares */
    BUG_PUBLISH_PART,       /* a record is published before all of it is there */
    BUG_FREE_UNCONSUMED,    /* space is what was handed out, not what was released */
    BUG_NO_EPOCH,           /* who was fenced may send */
    BUG_NO_JOURNAL,         /* a node moves without what was consumed and handed out */
    BUG_NO_WINDOW,          /* … without what was released out of turn */
    BUG_HANDED_STAYS,       /* what left for a host that the node left in order comes marked */
    BUG_KEEP_REMOVED,       /* an origin stays though its receiver was removed */
    BUG_LATE_GIVEN,         /* a node that was taken over before it was opened is opened */
    /* … of the directory (directory*.c, member.c), and of its file. */
    BUG_NO_YIELD,           /* who asks gets a node without the old host being asked */
    BUG_FORGET_FROM,        /* whose knowledge of a node is missing is not said */
    BUG_NOTE_LATE,          /* what was granted is answered, and not in the file */
    BUG_NO_FENCE,           /* a holder is not told that its node was taken over */
    BUG_HOLD_LOWER,         /* a host that joins is right with any epoch */
    BUG_EPOCH_KEPT,         /* a node is placed anew in its old epoch */
    BUG_SETTLED_LOST,       /* who holds a node, or yields it, may not have settled it */
    BUG_FORGET_WATCH,       /* what is watched is not said again on a new connection */
    BUG_LEFT_STAYS,         /* that nothing waits any more where a sender was is not heard */
    BUGS,
};

#ifdef TRAM_BUGS
extern int tram_bug;
#define BUG(name) (__builtin_expect(tram_bug == BUG_##name, 0))
#else
#define BUG(name) 0
#endif
