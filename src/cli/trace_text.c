/* SPDX-License-Identifier: MIT
 *
 * tram trace, for people and as JSON.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/trace.h"

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_end(struct buf *buf, bool *first, const char *key, const view_node *node) {
    bool member = true;

    if (!node)
        return;
    json_key(buf, first, key);
    buf_char(buf, '{');
    json_member_bool(buf, &member, "known", node->known);
    json_member_bool(buf, &member, "up", node->up);
    json_member_bool(buf, &member, "asleep", node->asleep);
    json_member_number(buf, &member, "pid", node->pid > 0 ? (uint64_t) node->pid : 0);
    json_member_text(buf, &member, "program", node->program);
    json_member_text(buf, &member, "host", node->host);
    json_member_number(buf, &member, "epoch", node->epoch);
    buf_char(buf, '}');
}

static void json_link(struct buf *buf, bool *first, const view_words *view) {
    bool member = true;

    json_key(buf, first, "link");
    buf_char(buf, '{');
    json_member_text(buf, &member, "host", view->link);
    json_member_bool(buf, &member, "up", view->link_up);
    json_member_number(buf, &member, "heard_ns", view->heard_ns);
    json_member_text(buf, &member, "error", view->error);
    json_member_bool(buf, &member, "held", view->held);
    json_member_bool(buf, &member, "open", view->open);
    json_member_number(buf, &member, "sent", view->sent);
    json_member_number(buf, &member, "credit", view->credit);
    json_member_bool(buf, &member, "stalled", view->stalled);
    buf_char(buf, '}');
}

static void json_view(struct buf *buf, const view_words *view) {
    bool first = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "host", view->host);
    if (*view->silent) {
        json_member_text(buf, &first, "silent", view->silent);
        buf_char(buf, '}');
        return;
    }
    json_member_text(buf, &first, "ring",
                     !view->ring ? "none" : view->mirror ? "mirror" : "origin");
    if (view->ring) {
        json_member_number(buf, &first, "stream", view->stream);
        json_member_text(buf, &first, "state", view->state);
        json_member_number(buf, &first, "accepted", view->accepted);
        json_member_number(buf, &first, "consumed", view->consumed);
        json_member_number(buf, &first, "waiting_bytes", view->bytes);
        json_member_number(buf, &first, "capacity", view->capacity);
        json_member_number(buf, &first, "position", view->position);
        json_member_number(buf, &first, "age_ns", view->age_ns);
        json_member_number(buf, &first, "aside", view->aside);
        json_member_text(buf, &first, "note", view->note);
    }
    if (*view->link)
        json_link(buf, &first, view);
    if (view->ring && view->mirror)
        json_member_bool(buf, &first, "written", view->written);
    json_end(buf, &first, "sender", view->sender);
    json_end(buf, &first, "receiver", view->receiver);
    buf_char(buf, '}');
}

static void print_json(const struct trace *trace, struct buf *buf) {
    bool first = true, item = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "bus", cli_bus_name());
    json_member_id(buf, &first, "from", trace->from);
    json_member_id(buf, &first, "to", trace->to);
    json_member_text(buf, &first, "sender_host", trace->sender_host);
    json_member_text(buf, &first, "receiver_host", trace->receiver_host);
    json_member_number(buf, &first, "sent", trace->sent);
    json_member_number(buf, &first, "arrived", trace->arrived);
    json_member_number(buf, &first, "consumed", trace->consumed);
    json_member_number(buf, &first, "waiting", trace->sent - trace->consumed);
    json_member_number(buf, &first, "seq", trace->number);
    json_member_text(buf, &first, "waiting_for", trace->cause.word);
    json_member_text(buf, &first, "why", trace->cause.text);
    json_key(buf, &first, "hosts");
    buf_char(buf, '[');
    for (size_t i = 0; i < trace->count; i++) {
        json_item(buf, &item);
        json_view(buf, trace->views[i]);
    }
    buf_text(buf, "]}\n");
}

/* ---- for people ------------------------------------------------------------------------------ */

static void text_end(struct buf *buf, const char *what, tram_id id, const view_node *node) {
    char text[TRAM_ID_TEXT];

    buf_format(buf, "%s %s ", what, tram_id_format(id, text));
    if (node->up) {
        buf_format(buf, "up, pid %" PRId32 " (", node->pid);
        buf_preview(buf, node->program, strlen(node->program));
        buf_text(buf, node->asleep ? "), asleep" : ")");
    } else {
        buf_text(buf, node->opens > 0 ? "down" : "never opened");
    }
}

static void text_ring(struct buf *buf, const view_words *view) {
    buf_text(buf, view->mirror ? "the copy here " : "the ring here ");
    if (view->accepted > view->consumed)
        buf_format(buf, "has messages %" PRIu64 " to %" PRIu64 ", %" PRIu64 " of %" PRIu64
                   " bytes, up to position %" PRIu64, view->consumed + 1, view->accepted,
                   view->bytes, view->capacity, view->position);
    else
        buf_format(buf, "is empty: %" PRIu64 " came and went", view->accepted);
    if (view->age_ns > 0)
        buf_format(buf, ", the oldest for %.1f s", (double) view->age_ns / 1e9);
    if (strcmp(view->state, "full") == 0)
        buf_text(buf, "; it is full, and its writer waits");
    if (view->aside > 0)
        buf_format(buf, "; %" PRIu64 " set aside (tram retry)", view->aside);
    if (*view->note) {
        buf_text(buf, "; ");
        buf_preview(buf, view->note, strlen(view->note));
    }
}

static void text_view(const struct trace *trace, struct buf *buf, const view_words *view) {
    bool sends = strcmp(view->host, trace->sender_host) == 0 || view == trace->origin;
    bool receives = strcmp(view->host, trace->receiver_host) == 0 || view == trace->mirror;

    buf_format(buf, "%-12s  ", *view->host ? view->host : "here");
    if (*view->silent) {
        buf_text(buf, "could not be asked: ");
        buf_preview(buf, view->silent, strlen(view->silent));
        buf_char(buf, '\n');
        return;
    }
    if (sends)
        text_end(buf, "sender", trace->from, view->sender);
    if (sends && receives)
        buf_text(buf, "; ");
    if (receives)
        text_end(buf, "receiver", trace->to, view->receiver);
    if ((sends || receives) && view->ring)
        buf_text(buf, "; ");
    if (view->ring)
        text_ring(buf, view);
    buf_char(buf, '\n');
    if (!trace->crosses || view != trace->origin || !*view->link)
        return;
    buf_format(buf, "%-12s  to %s: %s", "link", view->link, view->link_up ? "up" : "down");
    if (view->carried && view->link_up)
        buf_format(buf, "; sent up to %" PRIu64 ", %" PRIu64 " bytes more may be", view->sent,
                   view->credit);
    if (view->link_up && view->link_ns > 0)
        buf_format(buf, "; round trip %.3f ms", (double) view->link_ns / 1e6);
    buf_char(buf, '\n');
}

void trace_print(const struct trace *trace, struct buf *buf) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (trace->json) {
        print_json(trace, buf);
        return;
    }
    buf_format(buf, "%s to %s: %" PRIu64 " sent", tram_id_format(trace->from, from),
               tram_id_format(trace->to, to), trace->sent);
    if (trace->crosses)
        buf_format(buf, ", %" PRIu64 " arrived on %s", trace->arrived, trace->receiver_host);
    buf_format(buf, ", %" PRIu64 " consumed, %" PRIu64 " wait\n", trace->consumed,
               trace->sent - trace->consumed);
    if (trace->origin)
        text_view(trace, buf, trace->origin);
    for (size_t i = 0; i < trace->count; i++) {
        const view_words *view = trace->views[i];

        if (view == trace->origin)
            continue;
        if (*view->silent || view->ring || strcmp(view->host, trace->receiver_host) == 0 ||
            strcmp(view->host, trace->sender_host) == 0)
            text_view(trace, buf, view);
    }
    buf_format(buf, "%-12s  message %" PRIu64 ": %s (%s)\n",
               strcmp(trace->cause.word, "nothing") == 0 ? "done" : "waits for", trace->number,
               trace->cause.text, trace->cause.word);
}
