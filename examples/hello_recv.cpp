#include <cstdio>
#include <tram/tram.hpp>
using namespace tram::literals;
int main() {
    auto node = tram::node::open("1.0.0.2"_id);
    tram::status status = node.status();
    while (status) {
        auto batch = node->recv_batch<64>();
        for (auto &message : batch)
            dprintf(1, "%.*s", static_cast<int>(message.size()), message.text().data());
        status = batch;
    }
    return std::fprintf(stderr, "%s\n", status.text()), 1;
}
