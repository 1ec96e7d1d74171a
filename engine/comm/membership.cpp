#include "engine/comm/membership.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"

namespace eng {
namespace {

using Get = std::function<const char*(const char*)>;

int number(const char* name, const char* text, int low, int high) {
    int v = 0;
    const char* end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, v);
    ENG_CHECK(error == std::errc() && stop == end && v >= low && v <= high, "launch", name, " = \"", text, "\", want a number from ", low, " to ", high);
    return v;
}
int number(const Get& get, const char* name, int low, int high) {
    const char* text = get(name);
    ENG_CHECK(text, "launch", name, " is not set, though other variables say that this process is one of several");
    return number(name, text, low, high);
}
int number_or(const Get& get, const char* name, int low, int high, int otherwise) { return get(name) ? number(name, get(name), low, high) : otherwise; }

Membership torchrun_style(const Get& get) {
    Membership m;
    m.size = number(get, "WORLD_SIZE", 1, 1 << 20);
    m.rank = number(get, "RANK", 0, m.size - 1);
    m.local_rank = number_or(get, "LOCAL_RANK", 0, m.size - 1, 0);
    m.local_size = number_or(get, "LOCAL_WORLD_SIZE", 1, m.size, 1);
    if (m.size == 1) return m;
    ENG_CHECK(get("MASTER_ADDR"), "launch", "MASTER_ADDR is not set: the host of rank 0");
    m.host = get("MASTER_ADDR");
    m.port = number(get, "MASTER_PORT", 1, 65534);
    // torchrun's own agent listens on that port when it keeps the store.
    if (const char* agent = get("TORCHELASTIC_USE_AGENT_STORE"); agent && !std::strcmp(agent, "True")) ++m.port;
    return m;
}

Membership slurm_style(const Get& get) {
    Membership m;
    m.size = number(get, "SLURM_NTASKS", 1, 1 << 20);
    m.rank = number(get, "SLURM_PROCID", 0, m.size - 1);
    m.local_rank = number_or(get, "SLURM_LOCALID", 0, m.size - 1, 0);
    m.local_size = number_or(get, "SLURM_NTASKS_PER_NODE", 1, m.size, 1);
    if (m.size == 1) return m;
    const char* nodes = get("SLURM_STEP_NODELIST");
    ENG_CHECK(get("MASTER_ADDR") || nodes, "launch", "neither MASTER_ADDR nor SLURM_STEP_NODELIST is set: the host of rank 0");
    m.host = get("MASTER_ADDR") ? get("MASTER_ADDR") : first_host(nodes);
    const int job = number_or(get, "SLURM_JOB_ID", 0, 2147483647, 0);  // jobs that share a host differ in it
    m.port = number_or(get, "MASTER_PORT", 1, 65534, 20000 + job % 20000);
    return m;
}

}  // namespace

std::string first_host(const std::string& list) {
    const auto open = list.find('['), comma = list.find(',');
    if (open == std::string::npos || comma < open) return list.substr(0, comma);
    const auto stop = list.find_first_of(",-]", open + 1), close = list.find(']', open);
    ENG_CHECK(close != std::string::npos, "launch", "SLURM_STEP_NODELIST = \"", list, "\" is no list of hosts");
    const auto next = list.find(',', close);
    return list.substr(0, open) + list.substr(open + 1, stop - open - 1) + list.substr(close + 1, next == std::string::npos ? next : next - close - 1);
}

std::optional<Membership> membership(const Get& get) {
    if (get("RANK") || get("WORLD_SIZE")) return torchrun_style(get);
    // A batch script has the numbers too, but is one process; only srun's steps have an id.
    if (get("SLURM_STEP_ID") && get("SLURM_PROCID") && get("SLURM_NTASKS")) return slurm_style(get);
    return std::nullopt;
}
std::optional<Membership> membership() {
    return membership([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace eng
