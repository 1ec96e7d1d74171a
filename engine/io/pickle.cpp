#include "engine/io/pickle.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "engine/io/pickle_bytes.h"
#include "engine/io/pickle_codes.h"

namespace eng {

using Kind = PickleValue::Kind;
using Stack = std::vector<PickleValue*>;

namespace {

// Far above any file of weights (some thousand tensors), far below what would exhaust memory: opcodes of one byte make
// values of a hundred, and a short pickle may copy a long list again and again.
constexpr std::size_t value_limit = std::size_t(1) << 21, item_limit = std::size_t(1) << 24;

bool is_harmless(const std::string& global) {
    return std::find(std::begin(harmless_globals), std::end(harmless_globals), global) != std::end(harmless_globals);
}

}  // namespace

const PickleValue* PickleValue::get(const std::string& key) const {
    if (kind != Kind::dict) return nullptr;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2)
        if (items[i]->kind == Kind::text && items[i]->text == key) return items[i + 1];
    return nullptr;
}

// A machine with a stack, a stack of marks and a memo, as pickletools describes it.
class PickleMachine {
public:
    PickleMachine(Pickle& out, std::span<const std::byte> bytes, const std::string& file) : out_(out), in_(bytes, file) {}

    void run() {
        while (true) {
            if (std::max({out_.values_.size(), stack_.size(), memo_.size(), marks_.size()}) > value_limit || items_ > item_limit)
                in_.bad("holds more values than any file of weights");
            const auto op = in_.opcode();
            if (op == STOP) break;
            if (!number(op) && !text(op) && !container(op) && !memory(op) && !object(op)) in_.bad("holds the unknown opcode ", int(op));
        }
        out_.root_ = pop();
        out_.size_ = in_.at();
    }

private:
    // ---- the stack
    PickleValue* make(Kind kind) {
        out_.values_.emplace_back().kind = kind;
        return &out_.values_.back();
    }
    void push(PickleValue* v) { stack_.push_back(v); }
    std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
    PickleValue* pop() {
        if (stack_.size() <= floor()) in_.bad("takes a value from an empty stack");
        PickleValue* v = stack_.back();
        stack_.pop_back();
        return v;
    }
    PickleValue* top() {
        if (stack_.size() <= floor()) in_.bad("looks at an empty stack");
        return stack_.back();
    }
    Stack pop_to_mark() {
        if (marks_.empty()) in_.bad("looks for a mark that is not there");
        Stack items(stack_.begin() + std::ptrdiff_t(marks_.back()), stack_.end());
        stack_.resize(marks_.back());
        marks_.pop_back();
        return items;
    }
    void push_text(Kind kind, std::string s) {
        push(make(kind));
        stack_.back()->text = std::move(s);
    }
    void push_integer(std::int64_t v, Kind kind = Kind::integer) {
        push(make(kind));
        stack_.back()->integer = v;
    }

    // ---- opcodes, by family; false: not one of mine
    bool number(int op) {
        switch (op) {
            case NONE: push(make(Kind::none)); return true;
            case NEWTRUE: push_integer(1, Kind::boolean); return true;
            case NEWFALSE: push_integer(0, Kind::boolean); return true;
            case BININT: push_integer(in_.little<std::int32_t>()); return true;
            case BININT1: push_integer(in_.byte()); return true;
            case BININT2: push_integer(in_.little<std::uint16_t>()); return true;
            case LONG1: push_long(in_.byte()); return true;
            case LONG4: push_long(in_.little<std::uint32_t>()); return true;
            case INT: case LONG: push_decimal(in_.line()); return true;
            case FLOAT: push_real(in_.parse<double>(in_.line())); return true;
            case BINFLOAT: {
                const std::uint64_t bits = __builtin_bswap64(in_.little<std::uint64_t>());  // the format's only big-endian number
                push_real(std::bit_cast<double>(bits));
                return true;
            }
            default: return false;
        }
    }
    void push_long(std::uint64_t n) { n > 8 ? push_text(Kind::text, in_.string(n)) : push_integer(in_.signed_number(n)); }
    void push_decimal(std::string s) {
        if (s == "00" || s == "01") return push_integer(s == "01", Kind::boolean);
        if (s.ends_with('L')) s.pop_back();
        push_integer(in_.parse<std::int64_t>(s));
    }
    void push_real(double v) {
        push(make(Kind::real));
        stack_.back()->real = v;
    }

    bool text(int op) {
        switch (op) {
            case SHORT_BINUNICODE: push_text(Kind::text, in_.string(in_.byte())); return true;
            case BINUNICODE: push_text(Kind::text, in_.string(in_.little<std::uint32_t>())); return true;
            case BINUNICODE8: push_text(Kind::text, in_.string(in_.little<std::uint64_t>())); return true;
            case SHORT_BINSTRING: push_text(Kind::text, in_.string(in_.byte())); return true;
            case BINSTRING: push_text(Kind::text, in_.string(in_.little<std::uint32_t>())); return true;
            case SHORT_BINBYTES: push_text(Kind::bytes, in_.string(in_.byte())); return true;
            case BINBYTES: push_text(Kind::bytes, in_.string(in_.little<std::uint32_t>())); return true;
            case BINBYTES8: case BYTEARRAY8: push_text(Kind::bytes, in_.string(in_.little<std::uint64_t>())); return true;
            case UNICODE: push_text(Kind::text, in_.line()); return true;
            case STRING: {
                const std::string s = in_.line();  // quoted, as Python prints it
                push_text(Kind::text, s.size() >= 2 ? s.substr(1, s.size() - 2) : s);
                return true;
            }
            default: return false;
        }
    }

    bool container(int op) {
        switch (op) {
            case EMPTY_LIST: case EMPTY_SET: push(make(Kind::list)); return true;
            case EMPTY_TUPLE: push(make(Kind::tuple)); return true;
            case EMPTY_DICT: push(make(Kind::dict)); return true;
            case LIST: case FROZENSET: gather(Kind::list, pop_to_mark()); return true;
            case TUPLE: gather(Kind::tuple, pop_to_mark()); return true;
            case DICT: gather(Kind::dict, pop_to_mark()); return true;
            case TUPLE1: case TUPLE2: case TUPLE3: {
                Stack items(std::size_t(op - TUPLE1 + 1));
                for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
                gather(Kind::tuple, std::move(items));
                return true;
            }
            case APPEND: {
                PickleValue* v = pop();
                extend({v}, false);
                return true;
            }
            case APPENDS: case ADDITEMS: extend(pop_to_mark(), false); return true;
            case SETITEM: {
                PickleValue *v = pop(), *k = pop();
                extend({k, v}, true);
                return true;
            }
            case SETITEMS: extend(pop_to_mark(), true); return true;
            default: return false;
        }
    }
    void gather(Kind kind, Stack items) {
        if (kind == Kind::dict && items.size() % 2) in_.bad("has a key without a value");
        push(make(kind));
        stack_.back()->items = std::move(items);
    }
    // Adds to the list, dict or object on top. Objects of unknown classes may be lists or dictionaries of a kind.
    void extend(const Stack& more, bool pairs) {
        PickleValue* v = top();
        const bool plain = v->kind == (pairs ? Kind::dict : Kind::list);
        if (!plain && v->kind != Kind::object && v->kind != Kind::call) in_.bad("adds items to what holds none");
        if (pairs && more.size() % 2) in_.bad("has a key without a value");
        items_ += more.size();
        auto& to = plain ? v->items : v->extra;
        to.insert(to.end(), more.begin(), more.end());
    }

    bool memory(int op) {
        switch (op) {
            case PROTO:
                if (const int p = in_.byte(); p > 5) in_.bad("is of protocol ", p, "; up to 5 is known");
                return true;
            case FRAME: in_.take(8); return true;
            case MARK: marks_.push_back(stack_.size()); return true;
            case POP:  // a mark may be what is popped
                if (!marks_.empty() && marks_.back() == stack_.size()) marks_.pop_back();
                else pop();
                return true;
            case POP_MARK: pop_to_mark(); return true;
            case DUP: push(top()); return true;
            case PUT: memo_[in_.parse<std::uint64_t>(in_.line())] = top(); return true;
            case BINPUT: memo_[in_.byte()] = top(); return true;
            case LONG_BINPUT: memo_[in_.little<std::uint32_t>()] = top(); return true;
            case MEMOIZE: memo_[memo_.size()] = top(); return true;
            case GET: recall(in_.parse<std::uint64_t>(in_.line())); return true;
            case BINGET: recall(in_.byte()); return true;
            case LONG_BINGET: recall(in_.little<std::uint32_t>()); return true;
            default: return false;
        }
    }
    void recall(std::uint64_t i) {
        const auto it = memo_.find(i);
        if (it == memo_.end()) in_.bad("asks for memo ", i, ", which was never stored");
        push(it->second);
    }

    bool object(int op) {
        switch (op) {
            case GLOBAL: {
                const std::string module = in_.line();
                push_text(Kind::global, module + " " + in_.line());
                return true;
            }
            case STACK_GLOBAL: {
                const PickleValue *name = pop(), *module = pop();
                if (!name->is(Kind::text) || !module->is(Kind::text)) in_.bad("names a global by what is no text");
                push_text(Kind::global, module->text + " " + name->text);
                return true;
            }
            case REDUCE: call(Kind::call, pop()); return true;
            case NEWOBJ: call(Kind::object, pop()); return true;
            case NEWOBJ_EX: pop(), call(Kind::object, pop()); return true;
            case BUILD: build(); return true;
            case PERSID: push_text(Kind::text, in_.line()), persist(); return true;
            case BINPERSID: persist(); return true;
            default: return false;
        }
    }
    void call(Kind kind, PickleValue* arguments) {
        PickleValue* callee = pop();
        if (!arguments->is(Kind::tuple)) in_.bad("calls something without a tuple of arguments");
        if (!callee->is(Kind::global)) in_.bad("calls a value that is no global");
        // A class is only instantiated by Python's NEWOBJ; REDUCE runs any function.
        if (kind == Kind::call && !is_harmless(callee->text)) {
            std::string name = callee->text;
            std::replace(name.begin(), name.end(), ' ', '.');
            in_.bad("calls ", name.substr(0, 120), ", which files of weights have no need of; nothing was run");
        }
        PickleValue* v = make(callee->text == "collections OrderedDict" ? Kind::dict : kind);
        if (v->kind == Kind::dict) {
            // OrderedDict() or, in old pickles, OrderedDict([[key, value], ..]); items mostly follow by SETITEMS.
            if (!arguments->items.empty()) add_pairs(*v, *arguments->items[0]);
        } else {
            v->callee = callee;
            v->items = arguments->items;
            items_ += v->items.size();
        }
        push(v);
    }
    void add_pairs(PickleValue& dict, const PickleValue& list) {
        items_ += 2 * list.items.size();
        if (items_ > item_limit) return;  // the next opcode reports it
        for (const PickleValue* pair : list.items)
            if (list.is(Kind::list) && (pair->is(Kind::list) || pair->is(Kind::tuple)) && pair->items.size() == 2)
                dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
    }
    void build() {
        PickleValue *state = pop(), *v = top();
        // state_dict() leaves its _metadata on the OrderedDict: of no use here.
        if (v->is(Kind::object) || v->is(Kind::call)) v->state = state;
        else if (!v->is(Kind::dict)) in_.bad("sets the state of what has none");
    }
    void persist() {
        PickleValue* id = pop();
        push(make(Kind::persistent));
        stack_.back()->callee = id;
    }

    Pickle& out_;
    PickleBytes in_;
    std::size_t items_ = 0;  // references copied so far
    Stack stack_;
    std::vector<std::size_t> marks_;
    std::unordered_map<std::uint64_t, PickleValue*> memo_;
};

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& file) { PickleMachine(*this, bytes, file).run(); }

}  // namespace eng
