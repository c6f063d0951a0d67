/* SPDX-License-Identifier: MIT
 *
 * tram for C++17 and later: tram.h with owners, spans and durations. Header only, on the C API of
 * libtram; what a call means, and its errors, stand there, with the function of the same name.
 *
 *     using namespace tram::literals;
 *
 *     auto node = tram::node::open("1.0.0.1"_id);
 *     if (!node || !node->send("1.0.0.2"_id, "hello"))
 *         …
 *
 * Conventions
 *   - Nothing here throws, allocates, locks or calls back; it compiles with -fno-exceptions and
 *     -fno-rtti. A call is a call of the C function and a return code in a register.
 *   - A function that may fail returns a status, or a result<T>: a status and a value. Both are
 *     true when it went well, and must be looked at. code() is the negative errno, text() says
 *     what was wrong and what to do; it is valid until the next failing call on that node.
 *     *result may be used when it is true only.
 *   - Owners are moved and never copied: node (closes), claimed (aborts what was not committed),
 *     held (releases). A claimed or a held has to end before its node is closed: like a lock guard
 *     and its mutex. It stays good when its node is moved.
 *   - message and bytes own nothing: they point into the ring, or wherever the caller said.
 *   - Threads, fork and signals: as tram.h says. A node is used by one thread at a time, and so are
 *     its claims, held messages and results.
 *   - get() is the C handle, for what this header has no name for.
 */
#ifndef TRAM_TRAM_HPP
#define TRAM_TRAM_HPP

#include <tram/basics.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tram {

/* ---- messages ------------------------------------------------------------------------------- */

/* A received message: a view of it in the ring, valid until it is released (node::recv()). The
 * sender could still change the bytes: check what you copied, not what you saw. */
class message {
public:
    message() noexcept {} /* not cleared: the library writes all of it */

    bytes data() const noexcept { return bytes(raw_.data, raw_.size); }
    std::string_view text() const noexcept { return data().text(); }
    std::size_t size() const noexcept { return raw_.size; }
    id from() const noexcept { return id(raw_.from); }
    std::uint32_t tag() const noexcept { return raw_.tag; }
    std::uint64_t seq() const noexcept { return raw_.seq; }
    std::uint64_t stream() const noexcept { return raw_.stream; }
    bytes layer() const noexcept { return bytes(raw_.layer, sizeof(raw_.layer)); }

    /* 1: handed out for the first time, provably; n: n - 1 times before. */
    std::uint32_t attempt() const noexcept { return raw_.attempt; }
    bool again() const noexcept { return raw_.attempt > 1; }

    /* When it was sent, if its sender has options::stamp(). */
    using time = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;
    std::optional<time> sent() const noexcept {
        if (raw_.time_ns == 0)
            return std::nullopt;
        return time(std::chrono::nanoseconds(static_cast<std::int64_t>(raw_.time_ns)));
    }

    const tram_msg &raw() const noexcept { return raw_; }
    tram_msg &raw() noexcept { return raw_; }

private:
    friend class node;
    tram_msg raw_;
};

static_assert(sizeof(message) == sizeof(tram_msg) && std::is_standard_layout_v<message>);

/* Up to N messages of one receive, in place. False and empty when there was an error. Like other
 * received messages they are released by the next receive. */
template <std::size_t N> class [[nodiscard]] batch : public status {
public:
    static_assert(N > 0 && N <= INT32_MAX);

    std::size_t size() const noexcept { return ok() ? static_cast<std::size_t>(code()) : 0; }
    bool empty() const noexcept { return size() == 0; }
    const message *begin() const noexcept { return messages_; }
    const message *end() const noexcept { return messages_ + size(); }
    const message &operator[](std::size_t i) const noexcept { return messages_[i]; }

private:
    friend class node;
    explicit batch(const tram_node *node) noexcept : status(0, node) {}

    message messages_[N];
};

/* A message that is in hand until release(), or the end of this object, whatever is received
 * meanwhile. */
class [[nodiscard]] held {
public:
    held() noexcept = default;
    held(tram_node *node, const message &message) noexcept : node_(node), message_(message) {}
    held(held &&other) noexcept { *this = std::move(other); }
    held &operator=(held &&other) noexcept {
        if (this != &other) {
            drop();
            if (other.node_)
                message_ = other.message_;
            node_ = std::exchange(other.node_, nullptr);
        }
        return *this;
    }
    ~held() { drop(); }

    explicit operator bool() const noexcept { return node_ != nullptr; }
    const message &operator*() const noexcept { return message_; }
    const message *operator->() const noexcept { return &message_; }

    /* Dealt with. */
    status release() noexcept {
        tram_node *node = std::exchange(node_, nullptr);

        return status(tram_release(node, &message_.raw()), node);
    }

    /* Not dealt with: it stays in hand, and comes again to the node's next process. Who keeps the
     * message can still release it: node::release(). */
    message leave() noexcept {
        node_ = nullptr;
        return message_;
    }

private:
    friend class node;
    void drop() noexcept {
        if (node_)
            (void) tram_release(node_, &message_.raw()); /* it is in hand, or its node is gone */
        node_ = nullptr;
    }

    tram_node *node_ = nullptr;
    message message_;
};

/* Room in the ring to one node, to be written in place. It is given up at the end of this object
 * unless it was committed. Nothing else can be sent to that node meanwhile. */
class [[nodiscard]] claimed {
public:
    claimed() noexcept = default;
    claimed(claimed &&other) noexcept
        : node_(std::exchange(other.node_, nullptr)), to_(other.to_), room_(other.room_) {}
    claimed &operator=(claimed &&other) noexcept {
        if (this != &other) {
            drop();
            node_ = std::exchange(other.node_, nullptr);
            to_ = other.to_;
            room_ = other.room_;
        }
        return *this;
    }
    ~claimed() { drop(); }

    explicit operator bool() const noexcept { return node_ != nullptr; }
    writable_bytes data() const noexcept { return room_; }
    id to() const noexcept { return to_; }

    /* Send the first `size` bytes of it. After an error of arguments (-EINVAL: more than was
     * claimed) the claim is still open. */
    status commit(std::size_t size, const meta &meta = {}, flags flags = flags::none) noexcept {
        tram_node *node = node_;
        int rc = tram_commit(node, to_.value(), &meta, size, static_cast<std::uint32_t>(flags));

        if (rc != -EINVAL && rc != -EBUSY)
            node_ = nullptr;
        return status(rc, node);
    }

    /* Give it up now. */
    status abort() noexcept {
        tram_node *node = std::exchange(node_, nullptr);

        return status(tram_abort(node, to_.value()), node);
    }

private:
    friend class node;
    void drop() noexcept {
        if (node_)
            (void) tram_abort(node_, to_.value()); /* it is open, or its node is gone */
        node_ = nullptr;
    }

    tram_node *node_ = nullptr;
    id to_;
    writable_bytes room_;
};

/* ---- events --------------------------------------------------------------------------------- */

struct event {
    enum type_type {
        none,                        /* there was none */
        space = TRAM_EVENT_SPACE,    /* after -EAGAIN: room again to `peer` */
        up = TRAM_EVENT_UP,          /* `peer`, watched, runs */
        down = TRAM_EVENT_DOWN,      /* `peer`, watched, is gone */
        closed = TRAM_EVENT_CLOSED,  /* the channel from `peer` was closed: it wrote nonsense */
    };

    type_type type = none;
    id peer;
    std::int32_t pid = 0;

    event() noexcept = default;
    explicit event(const tram_event &raw) noexcept
        : type(static_cast<type_type>(raw.type)), peer(raw.peer), pid(raw.pid) {}

    explicit operator bool() const noexcept { return type != none; }
};

/* What node::events() goes over: it dispatches until there is none, or an error. */
class event_range {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = event;
        using difference_type = std::ptrdiff_t;
        using pointer = const event *;
        using reference = const event &;

        iterator() noexcept = default;
        explicit iterator(tram_node *node) noexcept : node_(node) { ++*this; }

        reference operator*() const noexcept { return event_; }
        pointer operator->() const noexcept { return &event_; }
        iterator &operator++() noexcept {
            tram_event raw;

            if (tram_dispatch(node_, &raw) > 0)
                event_ = event(raw);
            else
                node_ = nullptr;
            return *this;
        }
        iterator operator++(int) noexcept {
            iterator before = *this;

            ++*this;
            return before;
        }
        friend bool operator==(const iterator &a, const iterator &b) noexcept {
            return a.node_ == b.node_;
        }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return !(a == b); }

    private:
        tram_node *node_ = nullptr; /* NULL: the end */
        event event_;
    };

    explicit event_range(tram_node *node) noexcept : node_(node) {}
    iterator begin() const noexcept { return iterator(node_); }
    iterator end() const noexcept { return iterator(); }

private:
    tram_node *node_;
};

using peer_info = struct tram_peer;

/* ---- nodes ---------------------------------------------------------------------------------- */

/* A node, held by this process; closed at the end of the object. A default one, and one that was
 * moved from, is no node: every call on it is -EINVAL. */
class node {
public:
    node() noexcept = default;
    explicit node(tram_node *owned) noexcept : node_(owned) {}
    node(node &&other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    node &operator=(node &&other) noexcept {
        if (this != &other) {
            tram_close(node_);
            node_ = std::exchange(other.node_, nullptr);
        }
        return *this;
    }
    ~node() { tram_close(node_); }

    /* bus: NULL is $TRAM_BUS, else "default". The text of its error is this thread's, until the
     * next open that fails in it. */
    static result<node> open(const char *bus, id id, const options &options = {}) noexcept {
        result<node> result(0, nullptr);

        result.code_ = tram_open(bus, id.value(), &options.raw(), &result.value_.node_);
        result.node_ = result.value_.node_;
        return result;
    }
    static result<node> open(id id, const options &options = {}) noexcept {
        return open(nullptr, id, options);
    }

    void close() noexcept { node_ = tram_close(node_); }

    explicit operator bool() const noexcept { return node_ != nullptr; }
    tram_node *get() const noexcept { return node_; }
    tram_node *detach() noexcept { return std::exchange(node_, nullptr); } /* the caller closes */
    id self() const noexcept { return id(tram_node_id(node_)); }
    const char *bus_path() const noexcept { return tram_bus_path(node_); }

    /* ---- sending */

    /* Waits for ever for room, unless tram::nowait. */
    status send(id to, bytes data, std::uint32_t tag = 0, flags flags = flags::none) noexcept {
        return done(tram_send(node_, to.value(), tag, data.piece_.iov_base, data.size(),
                              static_cast<std::uint32_t>(flags)));
    }

    /* Waits so long; -ETIMEDOUT, or -EAGAIN if that is no time. */
    status send(id to, bytes data, const meta &meta, timeout timeout,
                flags flags = flags::none) noexcept {
        return send(to, &data, 1, meta, timeout, flags);
    }

    /* Gathered from pieces: node.send(to, {header, body}). */
    status send(id to, std::initializer_list<bytes> pieces, const meta &meta = {},
                timeout timeout = forever, flags flags = flags::none) noexcept {
        return send(to, pieces.begin(), pieces.size(), meta, timeout, flags);
    }
    status send(id to, const bytes *pieces, std::size_t count, const meta &meta = {},
                timeout timeout = forever, flags flags = flags::none) noexcept {
        int bounded = count > INT32_MAX ? -1 : static_cast<int>(count);

        return done(tram_sendv(node_, to.value(), &meta, count ? &pieces->piece_ : nullptr,
                               bounded, static_cast<std::uint32_t>(flags), timeout.ns()));
    }

    /* Room to be written in place. */
    result<claimed> claim(id to, std::size_t size, timeout timeout = forever) noexcept {
        result<claimed> result(0, node_);
        void *data = nullptr;

        result.code_ = tram_claim(node_, to.value(), size, timeout.ns(), &data);
        if (result.ok()) {
            result.value_.node_ = node_;
            result.value_.to_ = to;
            result.value_.room_ = writable_bytes(data, size);
        }
        return result;
    }

    /* Publish what was sent with tram::more. */
    status flush() noexcept { return done(tram_flush(node_)); }

    /* How many messages the bus ever accepted from this node to `to`. */
    result<std::uint64_t> accepted(id to) noexcept {
        result<std::uint64_t> result(0, node_);

        result.code_ = tram_accepted(node_, to.value(), &result.value_);
        return result;
    }

    /* ---- receiving */

    /* One message, in place. It, and all that was received before without hold(), is released by
     * the next receive or by done(): process, then commit. */
    result<message> recv(timeout timeout = forever) noexcept {
        result<message> result(0, node_);

        result.code_ = tram_recv(node_, &result.value_.raw_, timeout.ns());
        return result;
    }

    /* Up to N, at least one: for (auto &message : node.recv_batch<64>()). */
    template <std::size_t N> batch<N> recv_batch(timeout timeout = forever) noexcept {
        batch<N> batch(node_);

        batch.code_ = tram_recv_batch(node_, &batch.messages_[0].raw_, static_cast<int>(N), 0,
                                      timeout.ns());
        return batch;
    }

    /* The same into an array of the caller's; gives how many. With hold each of them stays in hand
     * until release(). */
    result<int> recv_into(message *messages, int max, timeout timeout = forever,
                          bool hold = false) noexcept {
        result<int> result(0, node_);

        result.code_ = tram_recv_batch(node_, messages ? &messages->raw_ : nullptr, max,
                                       hold ? TRAM_HOLD : 0, timeout.ns());
        result.value_ = result.code_;
        return result;
    }

    /* One message, copied into `buffer`, where the sender cannot touch it. */
    result<message> recv_copy(writable_bytes buffer, timeout timeout = forever) noexcept {
        result<message> result(0, node_);

        result.code_ = tram_recv_copy(node_, buffer.data(), buffer.size(), &result.value_.raw_,
                                      timeout.ns());
        return result;
    }

    /* One message that stays in hand as long as the object, whatever else is received. */
    result<held> hold(timeout timeout = forever) noexcept {
        result<held> result(0, node_);

        result.code_ = tram_recv_batch(node_, &result.value_.message_.raw_, 1, TRAM_HOLD,
                                       timeout.ns());
        if (result.ok())
            result.value_.node_ = node_;
        return result;
    }

    /* What recv_into() held, or held::leave() left. */
    status release(const message &message) noexcept {
        return done(tram_release(node_, &message.raw()));
    }

    /* Release now what the next receive would. */
    status done() noexcept { return done(tram_done(node_)); }

    /* Send a message in hand on, with its tag and layer bytes, from ring to ring. */
    status forward(const message &message, id to, flags flags = flags::none) noexcept {
        return done(tram_forward(node_, &message.raw(), to.value(),
                                 static_cast<std::uint32_t>(flags)));
    }

    /* ---- messages set aside */

    /* Up to `max` of them into `list`; gives how many there are in all. */
    result<int> aside_list(tram_aside *list, int max) noexcept {
        result<int> result(0, node_);

        result.code_ = result.value_ = tram_aside_list(node_, list, max);
        return result;
    }
    status aside_retry(id from, std::uint64_t seq) noexcept {
        return done(tram_aside_retry(node_, from.value(), seq));
    }
    status aside_drop(id from, std::uint64_t seq) noexcept {
        return done(tram_aside_drop(node_, from.value(), seq));
    }

    /* ---- waiting, event loops */

    /* True when there is something to receive or to dispatch. */
    status wait(timeout timeout = forever) noexcept {
        return done(tram_wait(node_, timeout.ns()));
    }

    /* One descriptor for everything: readable while there is work. Owned by the node. A turn:
     * poll(fd, poll_timeout()); go over events(); recv(at_once) until -EAGAIN. */
    result<int> fd() noexcept {
        result<int> result(0, node_);

        result.code_ = result.value_ = tram_fd(node_);
        return result;
    }

    /* How long to poll at most, in nanoseconds; TRAM_FOREVER: no limit; less: an error. */
    std::int64_t poll_timeout_ns() noexcept { return tram_timeout(node_); }

    /* The same as poll(2) takes it: milliseconds, rounded up; -1: no limit. 0 after an error, which
     * the next call on the node will tell. */
    int poll_timeout() noexcept {
        constexpr std::int64_t ms = 1000000, day = 86400000;
        std::int64_t ns = tram_timeout(node_);

        if (ns < 0)
            return ns == TRAM_FOREVER ? -1 : 0;
        return static_cast<int>(ns / ms < day ? (ns + ms - 1) / ms : day);
    }

    /* Do what is due, and give one event, which is false if there is none. Never waits. */
    result<event> dispatch() noexcept {
        result<event> result(0, node_);
        tram_event raw;

        result.code_ = tram_dispatch(node_, &raw);
        if (result.code_ > 0)
            result.value_ = event(raw);
        return result;
    }

    /* Dispatch until there is none: for (auto &event : node.events()). */
    event_range events() noexcept { return event_range(node_); }

    /* ---- peers */

    result<peer_info> peer(id id) noexcept {
        result<peer_info> result(0, node_);

        result.code_ = tram_peer(node_, id.value(), &result.value_);
        return result;
    }
    status watch(id id) noexcept { return done(tram_watch(node_, id.value())); }
    status unwatch(id id) noexcept { return done(tram_unwatch(node_, id.value())); }

private:
    status done(int code) const noexcept { return status(code, node_); }

    tram_node *node_ = nullptr;
};

} // namespace tram

#endif
