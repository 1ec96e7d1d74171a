#pragma once
// An interpreter of Python's pickle format (protocols 0 to 5) that builds a tree of plain values and never runs anything.
// A global is only a name. Calling one is refused with that name, unless it is one of the constructors that files of
// weights hold (listed in pickle.cpp), and then the call is only written down. Objects of unknown classes are kept as what
// their pickle says of them, so that a settings object beside the weights does no harm.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

namespace eng {

struct PickleValue {
    enum class Kind : std::uint8_t { none, boolean, integer, real, text, bytes, list, tuple, dict, global, call, object, persistent };
    Kind kind = Kind::none;
    std::int64_t integer = 0;  // boolean too; integers beyond 64 bits are kept as text
    double real = 0;
    std::string text;                  // of text, bytes; "module name" of a global
    std::vector<PickleValue*> items;   // list, tuple; dict: key, value, key, value ..; call and object: the arguments
    PickleValue* callee = nullptr;     // call, object: the global; persistent: the id
    PickleValue* state = nullptr;      // call, object: what BUILD set
    std::vector<PickleValue*> extra;   // call, object: items that were set on it, key, value ..

    bool is(Kind k) const { return kind == k; }
    const PickleValue* get(const std::string& key) const;  // of a dict, nullptr when absent
};

class Pickle {
public:
    // Reads one pickle from the beginning of `bytes`; `file` names it in errors. Work and memory are proportional to the
    // bytes read. Errors: the data end early, an opcode that is not known, a stack that runs empty, a call of a global
    // that is not on the list.
    Pickle(std::span<const std::byte> bytes, const std::string& file);
    const PickleValue& root() const { return *root_; }
    const std::deque<PickleValue>& values() const { return values_; }  // all of the tree, in the order of their making
    std::size_t size() const { return size_; }  // bytes of the pickle, STOP included

private:
    friend class PickleMachine;
    std::deque<PickleValue> values_;  // owns the tree, which may have cycles
    PickleValue* root_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace eng
