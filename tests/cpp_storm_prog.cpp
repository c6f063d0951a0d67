/* SPDX-License-Identifier: MIT
 * test: link=shared
 *
 * One life of a node in the kill storm of the bindings, in C++: a sender, a receiver or a relay
 * that is killed at any instant. tests/support/lives.py has the supervisor, the oracle's memory and
 * what may be said there; lives.py itself has the same lives in Python, life_prog.c in C.
 *
 *     cpp_storm_prog ORACLE NODE      the life of a node
 *     cpp_storm_prog ORACLE check     afterwards: what both ends of each channel say
 */
#include <tram/tram.hpp>

#include <algorithm>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>
#include <vector>

#include "support/kit.h"

using namespace std::chrono_literals;
using u64 = std::uint64_t;

namespace {

/* Words of the oracle's memory, as lives.py has them. */
enum { SEED, NODES, CHANS, ENDING, FAILED, PROGRESS };
enum { ID, ROLE, RING, CALLING, ENDED };
enum { SENDER, RECEIVER, ORIGIN, TRIED, ACCEPTED, FINAL }; /* of a channel: the sender's */
enum { HANDED = 6, MAYBE, SETTLED, HANDOUTS, REPEATS };   /* … and the receiver's */
enum { HEADER = 16, NODE = 16, MAX_NODES = 32, CHAN = 16 + 4096, LOG = 4096 };
enum { IS_HANDED = 1, RELEASING, RELEASED };

u64 *memory;

u64 get(const u64 *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

void set(u64 *word, u64 value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

u64 *node_words(u64 i) {
    return memory + HEADER + NODE * i;
}

u64 *chan_words(u64 i) {
    return memory + HEADER + NODE * MAX_NODES + CHAN * i;
}

tram::id node_id(u64 i) {
    return tram::id(static_cast<tram_id>(node_words(i)[ID]));
}

[[noreturn]] void fail(const u64 *chan, u64 seq, const char *what, const char *text) {
    std::fprintf(stderr, "  %s, channel %s -> %s, message %llu: %s\n", what,
                 chan ? node_id(chan[SENDER]).text().c_str() : "-",
                 chan ? node_id(chan[RECEIVER]).text().c_str() : "-",
                 static_cast<unsigned long long>(seq), text);
    set(&memory[FAILED], 1);
    _exit(1);
}

void must(const tram::status &status, const u64 *chan, u64 seq, const char *what) {
    if (!status)
        fail(chan, seq, what, status.text());
}

/* What follows from a channel and a number. */
struct content {
    u64 key;
    std::size_t size;

    content(const u64 *chan, u64 seq) : key(kit_mix(memory[SEED], chan[ORIGIN], seq)) {
        static const u64 bounds[] = { 300, 3000, 20000, 60000 };
        u64 r = key % 100;

        size = static_cast<std::size_t>((key >> 8) % bounds[(r >= 70) + (r >= 95) + (r >= 99)]);
    }
    std::uint32_t tag() const { return static_cast<std::uint32_t>(key); }
    void fill(tram::writable_bytes room) const {
        for (std::size_t at = 0; at < size; at += 8)
            std::memcpy(room.data() + at, &key, std::min<std::size_t>(8, size - at));
    }
    bool fits(tram::bytes bytes) const {
        if (bytes.size() != size)
            return false;
        for (std::size_t at = 0; at < size; at += 8)
            if (std::memcmp(bytes.data() + at, &key, std::min<std::size_t>(8, size - at)) != 0)
                return false;
        return true;
    }
};

struct out {
    u64 *chan;
    tram::id to;
    u64 next;
};

struct in {
    u64 *chan;
    u64 last; /* as far as this life has come */
};

struct taken {
    in *from;
    u64 seq;
};

class life {
public:
    explicit life(u64 index);
    void send();
    void receive();
    void relay();

private:
    void step(out &out);
    void sent(out &out, const tram::status &status, const char *call);
    void await_space(const out &out);
    void finish_sending();

    in &handed(const tram::message &message);
    void skipped(in &in, u64 upto);
    void settle(in &in);
    void mark(const taken &taken, u64 state);
    void one_by_one(std::size_t max);
    void in_batches();
    void copied();
    void held();
    template <class Call> auto calling(u64 max, Call call);
    bool complete() const;
    void finish_receiving();

    u64 *me_;
    rng rng_;
    tram::node node_;
    std::vector<out> outs_;
    std::vector<in> ins_;
    std::vector<taken> autos_;
    std::vector<u64> before_;
    std::vector<char> buffer_ = std::vector<char>(70000);
};

life::life(u64 index) : me_(node_words(index)) {
    auto options = tram::options().ring_size(me_[RING]).ring_max(4 << 20).attempts(250);
    auto end = kit_now() + kit_patience(20);

    rng_.state = kit_mix(memory[SEED], index, static_cast<u64>(getpid()));
    for (;;) {
        auto opened = tram::node::open(node_id(index), options);

        if (opened) {
            node_ = *std::move(opened);
            break;
        }
        if (opened.code() != -EADDRINUSE || kit_now() > end)
            fail(nullptr, 0, "open", opened.text());
        kit_pause();
    }
    for (u64 i = 0; i < memory[CHANS]; i++) {
        u64 *chan = chan_words(i);

        if (chan[RECEIVER] == index) {
            ins_.push_back({ chan, 0 });
            set(&chan[MAYBE], std::max(chan[MAYBE], chan[HANDED] + me_[CALLING]));
        }
        if (chan[SENDER] == index) {
            auto accepted = node_.accepted(node_id(chan[RECEIVER]));

            must(accepted, chan, 0, "accepted()");
            if (*accepted < chan[ACCEPTED] || *accepted > chan[TRIED])
                fail(chan, *accepted, "accepted()", "not between what was accepted and tried");
            set(&chan[ACCEPTED], *accepted);
            outs_.push_back({ chan, node_id(chan[RECEIVER]), *accepted + 1 });
        }
    }
    set(&me_[CALLING], 0);
}

/* ---- sending -------------------------------------------------------------------------------- */

void life::sent(out &out, const tram::status &status, const char *call) {
    must(status, out.chan, out.next, call);
    out.next++;
    if (!status.staged())
        set(&out.chan[ACCEPTED], out.next - 1);
    memory[PROGRESS]++;
}

void life::await_space(const out &out) {
    pollfd entry = { *node_.fd(), POLLIN, 0 };

    for (;;) {
        poll(&entry, 1, node_.poll_timeout());
        for (auto &event : node_.events())
            if (event.type == tram::event::space && event.peer == out.to)
                return;
    }
}

void life::step(out &out) {
    content content(out.chan, out.next);
    tram::bytes bytes(buffer_.data(), content.size);
    tram::flags flags = rng_chance(&rng_, 300) ? tram::more : tram::flags::none;

    content.fill(buffer_);
    set(&out.chan[TRIED], out.next);
    switch (rng_below(&rng_, 5)) {
    case 0:
        return sent(out, node_.send(out.to, bytes, content.tag(), flags), "send");
    case 1:
        for (;;) {
            auto status = node_.send(out.to, bytes, content.tag(), flags | tram::nowait);

            if (status.code() != -EAGAIN)
                return sent(out, status, "send, not waiting");
            await_space(out);
        }
    case 2:
        for (;;) {
            std::size_t cut = rng_below(&rng_, content.size + 1);
            auto status = node_.send(out.to, { tram::bytes(buffer_.data(), cut), {},
                                               { buffer_.data() + cut, content.size - cut } },
                                     tram::meta(content.tag()), 2ms, flags);

            if (status.code() != -ETIMEDOUT)
                return sent(out, status, "send, gathered");
        }
    case 3:
        (void) *node_.claim(out.to, 100); /* given up */
        return sent(out, node_.send(out.to, bytes, content.tag()), "send");
    default: {
        auto claim = node_.claim(out.to, content.size + rng_below(&rng_, 1000));

        must(claim, out.chan, out.next, "claim");
        content.fill(claim->data());
        return sent(out, claim->commit(content.size, tram::meta(content.tag()), flags), "commit");
    }
    }
}

void life::finish_sending() {
    must(node_.flush(), nullptr, 0, "flush");
    for (auto &out : outs_) {
        set(&out.chan[ACCEPTED], out.next - 1);
        set(&out.chan[FINAL], out.next);
    }
}

void life::send() {
    while (!get(&memory[ENDING])) {
        step(outs_[rng_below(&rng_, outs_.size())]);
        if (rng_chance(&rng_, 50)) {
            must(node_.flush(), nullptr, 0, "flush");
            for (auto &out : outs_)
                set(&out.chan[ACCEPTED], out.next - 1);
        }
    }
    finish_sending();
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* Numbers up to `upto` did not come in this life: they may only be such as were released. */
void life::skipped(in &in, u64 upto) {
    for (u64 seq = std::max(in.last, in.chan[SETTLED]) + 1; seq <= upto; seq++) {
        u64 *entry = &in.chan[16 + seq % LOG];

        if (*entry >> 2 != seq || (*entry & 3) < RELEASING)
            fail(in.chan, seq, "lost", "it was not released, and did not come");
        set(entry, seq << 2 | RELEASED);
    }
}

void life::settle(in &in) {
    u64 seq = in.chan[SETTLED];

    while (in.chan[16 + (seq + 1) % LOG] == ((seq + 1) << 2 | RELEASED))
        seq++;
    set(&in.chan[SETTLED], seq);
}

in &life::handed(const tram::message &message) {
    u64 seq = message.seq();
    in *from = nullptr;

    for (auto &in : ins_)
        if (node_id(in.chan[SENDER]) == message.from())
            from = &in;
    if (!from)
        fail(nullptr, seq, "received", "from a stranger");
    u64 *chan = from->chan;
    content content(chan, seq);
    if (seq <= from->last)
        fail(chan, seq, "received", "out of order");
    skipped(*from, seq - 1);
    if (seq > chan[HANDED]) {
        if (message.again() && seq > chan[MAYBE])
            fail(chan, seq, "received", "marked, and nobody can have had it");
        set(&chan[HANDED], seq);
    } else {
        u64 entry = chan[16 + seq % LOG];

        if (seq <= chan[SETTLED] || entry == (seq << 2 | RELEASED))
            fail(chan, seq, "received", "twice: it was released");
        if (!message.again())
            fail(chan, seq, "received", "twice, and not marked");
        chan[REPEATS]++;
    }
    if (message.tag() != content.tag() || !content.fits(message.data()))
        fail(chan, seq, "received", "other bytes than were sent");
    set(&chan[16 + seq % LOG], seq << 2 | IS_HANDED);
    from->last = seq;
    chan[HANDOUTS]++;
    memory[PROGRESS]++;
    return *from;
}

void life::mark(const taken &taken, u64 state) {
    set(&taken.from->chan[16 + taken.seq % LOG], taken.seq << 2 | state);
    if (state == RELEASED)
        settle(*taken.from);
}

/* A receive of up to `max`, which releases what is in autos_; the caller ends it with CALLING = 0
 * when it has seen to what came. */
template <class Call> auto life::calling(u64 max, Call call) {
    before_.clear();
    for (auto &in : ins_)
        before_.push_back(get(&in.chan[ACCEPTED]));
    for (auto &taken : autos_)
        mark(taken, RELEASING);
    set(&me_[CALLING], max);
    auto outcome = call();
    for (auto &taken : autos_)
        mark(taken, RELEASED);
    autos_.clear();
    if (outcome.code() == -EAGAIN) /* the truth: all that had been accepted was here */
        for (std::size_t i = 0; i < ins_.size(); i++) {
            skipped(ins_[i], before_[i]);
            settle(ins_[i]);
        }
    else if (outcome.code() != -ETIMEDOUT && outcome.code() != -EMSGSIZE)
        must(outcome, nullptr, 0, "receive");
    return outcome;
}

void life::one_by_one(std::size_t max) {
    for (std::size_t i = 0; i < max; i++) {
        tram::timeout timeout = i % 2 ? tram::timeout(1ms) : tram::at_once;
        auto got = calling(1, [&] { return node_.recv(timeout); });

        if (got)
            autos_.push_back({ &handed(*got), got->seq() });
        set(&me_[CALLING], 0);
        if (!got)
            return;
    }
}

void life::in_batches() {
    auto batch = calling(16, [&] { return node_.recv_batch<16>(2ms); });

    for (auto &message : batch)
        autos_.push_back({ &handed(message), message.seq() });
    set(&me_[CALLING], 0);
    for (u64 i = rng_below(&rng_, 100); i > 0 && !batch.empty(); i--)
        kit_pause(); /* some work, with messages in hand */
}

void life::copied() {
    std::size_t size = rng_chance(&rng_, 500) ? 500 : buffer_.size();
    auto got = calling(1, [&] {
        return node_.recv_copy(tram::writable_bytes(buffer_.data(), size), tram::at_once);
    });

    if (got)
        autos_.push_back({ &handed(*got), got->seq() });
    set(&me_[CALLING], 0);
}

void life::held() {
    std::vector<std::pair<tram::held, taken>> hands;

    for (u64 i = rng_below(&rng_, 8); i > 0; i--) {
        auto got = calling(1, [&] { return node_.hold(1ms); });

        if (got) {
            taken taken{ &handed(**got), (*got)->seq() };
            hands.emplace_back(*std::move(got), taken);
        }
        set(&me_[CALLING], 0);
    }
    while (!hands.empty()) {
        std::size_t i = rng_below(&rng_, hands.size());

        mark(hands[i].second, RELEASING);
        must(hands[i].first.release(), hands[i].second.from->chan, hands[i].second.seq, "release");
        mark(hands[i].second, RELEASED);
        hands.erase(hands.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

/* The senders have ended, and all that they sent was here. */
bool life::complete() const {
    if (!get(&memory[ENDING]))
        return false;
    for (auto &in : ins_) {
        u64 final = get(&in.chan[FINAL]);

        if (final == 0 || std::max(in.last, in.chan[SETTLED]) + 1 < final)
            return false;
    }
    return true;
}

void life::finish_receiving() {
    one_by_one(1); /* nothing: by that it is known what a life before released */
    for (auto &taken : autos_)
        mark(taken, RELEASING);
    must(node_.done(), nullptr, 0, "done");
    for (auto &taken : autos_)
        mark(taken, RELEASED);
    autos_.clear();
}

void life::receive() {
    do
        switch (rng_below(&rng_, 4)) {
        case 0: one_by_one(20); break;
        case 1: in_batches(); break;
        case 2: copied(); break;
        default: held(); break;
        }
    while (!complete());
    finish_receiving();
}

/* Number n in becomes number n out: what was accepted already is not sent again. */
void life::relay() {
    out &out = outs_[0];

    do {
        tram::timeout timeout = rng_chance(&rng_, 500) ? tram::at_once : tram::timeout(1ms);
        auto got = calling(1, [&] { return node_.recv(timeout); });

        if (got) {
            autos_.push_back({ &handed(*got), got->seq() });
            if (got->seq() > out.next)
                fail(out.chan, out.next, "relay", "skipped one that it did not send");
            if (got->seq() == out.next) {
                set(&out.chan[TRIED], out.next);
                sent(out, node_.forward(*got, out.to), "forward");
            }
        }
        set(&me_[CALLING], 0);
    } while (!complete());
    finish_receiving();
    finish_sending();
}

/* ---- afterwards ----------------------------------------------------------------------------- */

void check() {
    for (u64 i = 0; i < memory[CHANS]; i++) {
        u64 *chan = chan_words(i);
        auto sender = tram::node::open(node_id(chan[SENDER]));
        auto receiver = tram::node::open(node_id(chan[RECEIVER]));

        must(sender, chan, 0, "open");
        must(receiver, chan, 0, "open");
        u64 count = *sender->accepted(receiver->self());
        auto way = receiver->peer(sender->self())->from;
        if (count + 1 != chan[FINAL] || count != chan[HANDED] || count != chan[SETTLED])
            fail(chan, count, "afterwards", "accepted, handed out and released are not the same");
        if (way.accepted != count || way.consumed != count || way.bytes != 0)
            fail(chan, count, "afterwards", "peer() says something else");
        if (receiver->recv(tram::at_once).code() != -EAGAIN)
            fail(chan, count, "afterwards", "something is left");
    }
}

} // namespace

int main(int argc, char **argv) {
    int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    std::size_t size = sizeof(u64) * (HEADER + NODE * MAX_NODES + CHAN * 32);

    if (fd < 0) {
        std::fprintf(stderr, "usage: cpp_storm_prog ORACLE NODE|check\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memory = static_cast<u64 *>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (memory == MAP_FAILED) {
        std::perror("mmap");
        return 2;
    }
    if (std::string(argv[2]) == "check") {
        check();
        return 0;
    }
    u64 index = std::strtoull(argv[2], nullptr, 10);
    life life(index);
    switch (node_words(index)[ROLE]) {
    case 0: life.send(); break;
    case 1: life.receive(); break;
    default: life.relay(); break;
    }
    set(&node_words(index)[ENDED], 1);
    return 0;
}
