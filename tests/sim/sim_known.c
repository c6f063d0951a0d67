/* SPDX-License-Identifier: MIT
 *
 * Worlds that failed once, and what each showed: `sim --known` runs them again. A change of what is
 * random in the simulator makes another world of a seed; then the line is of no use any more, and
 * does no harm.
 */
#include "sim/sim.h"

const struct known_world sim_known[] = {
    /* Who has the node again, or never gave it up, is no fenced sender: the oracle. */
    {21679, "of a sender that is fenced, when the directory has noted it back there"},
    {89137, "the same"},
    /* Nobody knows what was handed out until the mirror is made anew: the oracle. */
    {12542, "what was sent after `tram rm` was held to be seen by nobody"},
    {109294, "the same, after a take-over"},
    /* A doubt that was forgotten: the store of the simulator. */
    {24867, "a mirror that became an origin, and a journal that does not name it"},
    {52207, "a journal's `unsure`, and a take-over"},
    {66000, "the same"},
    {327779, "a mirror that became an origin was held to be the fenced sender's"},
    /* Who yields believed who asks, but the directory could not note it: the daemon. */
    {12574, "a node that was given up and could not be noted: what its next host sends is stale"},
    {62000, "the same"},
    {92437, "the same"},
    /* What is known of a sender has to be as new as what its receiver heard: the simulator. */
    {12008, "who was fenced did not ask where the node went on to"},
    {59868, "a daemon that begins granted itself a node before it asked about senders"},
    {304590, "a stream that was given up waits, and the one before it goes on in a later epoch"},
    /* Who never heard that he has a node refused to let it go: the daemon. */
    {40799, "a grant that got lost"},
    /* A channel that was taken and has to wait again asks as the peer is now: the link. */
    {600762, "`tram rm` between the refusal and the next try"},
    /* What a node had consumed is lost with the host that gave it up: the oracle. */
    {141331, "before who has the node now was told"},
    {606350, "the same"},
    /* Who is asked for a node, and claims it meanwhile, is not granted it: the directory. */
    {65044, "its answer, older than its claim, gave the node to another host"},
    {605234, "the same"},
    /* SETTLED that came while the receiver was away counts once it is back: the simulator. */
    {619749, "a drained mirror that its origin's host did not name stayed for ever"},
    /* Who never comes: the store of the simulator. */
    {39055, "what a dead host said in its greeting was taken for a sign of its origin"},
    {132325, "the same"},
    {41684, "a mirror that was opened anew, drained, did not give way to what was given up"},
    {143729, "what was released elsewhere before its turn, and came last, was not freed"},
    {709740, "a drained mirror of one that came back, and was fenced, did not give way"},
    /* A receiver that comes back to what it left of a sender that was fenced since: the store of
     * the simulator. */
    {1063607, "that was handed out, after what the next holder had sent"},
    {1150591, "the same; its origin never heard of it, so it came again, not marked"},
    /* A copy that had to be dropped is no copy: the oracle. */
    {1328512, "a host that lost its memory had just said that the channel goes elsewhere"},
    {1448118, "… or closed it, to open it anew, and that was read late"},
    /* More than one copy of a stream whose origin is lost: the store of the simulator. */
    {82213, "what was handed out of another one, after a take-over, came again, not marked"},
    {1391674, "the same, the second one while the mirror of the first one stood"},
    {1423223, "what was left of a sender whose host is lost is no fenced sender's, and is kept"},
    /* An OPEN that was said before its receiver left, and arrives when it is back: the daemon. */
    {486422, "what was handed out elsewhere meanwhile came again, not marked"},
    /* The end of an answer to an earlier question, of which the rest was not heard: the daemon. */
    {139125, "a node was opened without what its old host knew"},
    {463381, "the same"},
    /* Who is asked for a node that it never got to know it has, and has of it what is fenced: the
     * directory. */
    {345531, "it was put in the list of what goes first, for ever"},
    {453009, "the same"},
    /* It settled, which was heard, or known from its answer to YIELD only, and could not be noted:
     * the directory. */
    {51643, "what lay on the host of the node was in the list of what goes first, for ever"},
    {453663, "the same, after SETTLED"},
    /* What goes first is said by the directory, and not by who left it: the simulator. */
    {404230, "who heard from a later holder took what an earlier one, fenced, had sent"},
    {0, NULL},
};
