// The pickle machine: what it makes of plain values, and all that it refuses.
#include "data/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/archive_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::little;
using testing::p_int;
using testing::p_name;
using testing::p_text;
using testing::pickled;
using testing::refusal_of;
using ::testing::StartsWith;
using Kind = PickleValue::Kind;

Pickle read(const std::string& opcodes) { return read_pickle(pickled(opcodes), "F"); }

std::string refusal(const std::string& opcodes) {
  const std::string line = refusal_of([&] { read(opcodes); });
  EXPECT_THAT(line, ::testing::Not(HasSubstr("\n")));
  return line;
}

PickleValue root(const std::string& opcodes) {
  const Pickle pickle = read(opcodes);
  PickleValue value = pickle[pickle.root];
  value.text = {};
  return value;
}

TEST(Pickle, PlainValues) {
  EXPECT_EQ(root("N").kind, Kind::none);
  EXPECT_EQ(root("\x88").number, 1);
  EXPECT_EQ(root("\x89").kind, Kind::boolean);
  EXPECT_EQ(root("K\xff").number, 255);
  EXPECT_EQ(root("M\xff\xff").number, 65535);
  EXPECT_EQ(root("J\xfe\xff\xff\xff").number, -2);
  EXPECT_EQ(root(std::string("\x8a\x00", 2)).number, 0);
  EXPECT_EQ(root("\x8a\x01\xff").number, -1);
  EXPECT_EQ(root(std::string("\x8a\x02\xff\x00", 4)).number, 255);
  EXPECT_EQ(root("\x8b" + little(2, 4) + std::string("\x00\x80", 2)).number, -32768);
  EXPECT_EQ(root(p_int(INT64_MIN)).number, INT64_MIN);
  EXPECT_EQ(root(std::string("G\xbf\xe0\0\0\0\0\0\0", 9)).real, -0.5);
  for (const std::string& text :
       {p_text("word"), std::string("\x8c\x04word"), "\x8d" + little(4, 8) + "word"}) {
    const Pickle pickle = read(text);
    EXPECT_EQ(pickle[pickle.root].text, "word");
  }
}

TEST(Pickle, Containers) {
  EXPECT_EQ(root(")").kind, Kind::tuple);
  EXPECT_EQ(root("N\x85").items.size(), 1u);
  EXPECT_EQ(root("NN\x86").items.size(), 2u);
  EXPECT_EQ(root("NNN\x87").items.size(), 3u);
  EXPECT_EQ(root("(NNNNt").items.size(), 4u);
  EXPECT_EQ(root("(NNl").kind, Kind::list);
  EXPECT_EQ(root("]Na(NNe").items.size(), 3u);
  EXPECT_EQ(root("}NNs(NNNNu").items.size(), 6u);
  EXPECT_EQ(root("(NNd").kind, Kind::dict);
  EXPECT_EQ(root("(N(t0t").items.size(), 1u);  // a value is dropped
  EXPECT_EQ(root("](NN1").items.size(), 0u);   // all above a mark
  EXPECT_EQ(root("](0").items.size(), 0u);     // a mark
  EXPECT_EQ(root("N2\x86").items.size(), 2u);  // one value twice
  EXPECT_EQ(root("]q\x05h\x05\x86").items.size(), 2u);
  EXPECT_EQ(root("]r" + little(5, 4) + "j" + little(5, 4) + "\x86").items.size(), 2u);
  EXPECT_EQ(root(std::string("]\x94h\0\x86", 5)).items.size(), 2u);
  EXPECT_EQ(root("\x95" + little(2, 8) + "N").kind, Kind::none);
  const std::string dict = p_name("collections", "OrderedDict") + ")R";
  EXPECT_EQ(root(dict).number, 1);
  EXPECT_EQ(root(dict + "NNs").items.size(), 2u);
  EXPECT_EQ(root(dict + "}b").items.size(), 0u);  // its state is passed over
}

TEST(Pickle, NamesAndCalls) {
  const Pickle storage = read(p_name("torch", "FloatStorage"));
  EXPECT_EQ(storage[storage.root].text, "torch.FloatStorage");
  const Pickle pushed = read(p_text("torch") + p_text("Size") + "\x93");
  EXPECT_EQ(pushed[pushed.root].text, "torch.Size");
  EXPECT_EQ(root(p_name("torch", "Size") + ")R").kind, Kind::call);
  EXPECT_EQ(root("NQ").kind, Kind::reference);
}

/// "F: its pickle WHAT (opcode OPCODE at byte BYTE), which could run code: …".
auto harm(const std::string& what, const std::string& opcode, int byte) {
  return "F: its pickle " + what + " (opcode " + opcode + " at byte " + std::to_string(byte) +
         "), which could run code: nothing was run; save the tensors as safetensors";
}

TEST(Pickle, CodeIsRefused) {
  EXPECT_EQ(refusal(p_name("os", "system")), harm("asks for os.system", "GLOBAL", 2));
  EXPECT_EQ(refusal("N" + p_name("builtins", "eval")), harm("asks for builtins.eval", "GLOBAL", 3));
  EXPECT_EQ(refusal("\x8c\x02os\x8c\x06system\x93"),
            harm("asks for os.system", "STACK_GLOBAL", 14));
  EXPECT_EQ(refusal("(ios\nsystem\n"), harm("asks for os.system", "INST", 3));
  EXPECT_EQ(refusal(p_name("torch", "_utils._rebuild_tensor")),
            harm("asks for torch._utils._rebuild_tensor", "GLOBAL", 2));
  EXPECT_EQ(refusal(p_name("collections", "OrderedDict.fromkeys")),
            harm("asks for collections.OrderedDict.fromkeys", "GLOBAL", 2));
  EXPECT_EQ(refusal(p_name("torch", "load")), harm("asks for torch.load", "GLOBAL", 2));
}

TEST(Pickle, ObjectsAreRefused) {
  const std::string storage = p_name("torch", "FloatStorage");  // 20 bytes
  const std::string made = "makes an object of torch.FloatStorage";
  EXPECT_EQ(refusal(storage + ")\x81"), harm(made, "NEWOBJ", 23));
  EXPECT_EQ(refusal(storage + ")}\x92"), harm(made, "NEWOBJ_EX", 24));
  EXPECT_EQ(refusal("(" + storage + "o"), harm(made, "OBJ", 23));
  EXPECT_EQ(refusal("N\x81"), harm("makes an object", "NEWOBJ", 3));
  EXPECT_EQ(refusal("\x82\x01"), harm("asks for an extension", "EXT1", 2));
  EXPECT_EQ(refusal("\x83\x01\x01"), harm("asks for an extension", "EXT2", 2));
  EXPECT_EQ(refusal("\x84\x01\x01\x01\x01"), harm("asks for an extension", "EXT4", 2));
  EXPECT_EQ(refusal(storage + ")R"), harm("calls torch.FloatStorage", "REDUCE", 23));
  EXPECT_EQ(refusal("N)R"), harm("calls what is no name", "REDUCE", 4));
  EXPECT_EQ(refusal(p_text("os.system") + ")R"), harm("calls what is no name", "REDUCE", 17));
  EXPECT_EQ(refusal("}}b"), harm("sets the state of what is no ordered dict", "BUILD", 4));
  EXPECT_EQ(refusal(p_name("torch", "Size") + ")R}b"),
            harm("sets the state of torch.Size", "BUILD", 17));
}

TEST(Pickle, OpcodesThatPlainTensorsDoNotNeed) {
  std::string known = "\x80\x95.N\x88\x89JKM\x8a\x8bGX\x8c\x8d)\x85\x86\x87t]lae}dsu(012qr\x94hjc";
  known += "\x93QRbio\x81\x92\x82\x83\x84";
  int unknown = 0;
  for (int code = 0; code < 256; ++code) {
    if (known.find(static_cast<char>(code)) != std::string::npos) continue;
    ++unknown;
    const std::string line = refusal(std::string(1, static_cast<char>(code)) + "1\n1\n");
    EXPECT_THAT(line, AllOf(StartsWith("F: its pickle has opcode 0x"), HasSubstr(" at byte 2,")));
  }
  EXPECT_EQ(unknown, 256 - 49);
}

TEST(Pickle, DamageIsNamed) {
  const auto damaged = [](const std::string& why) {
    return AllOf(StartsWith("F: its pickle is damaged: " + why), EndsWith("; save it anew"));
  };
  EXPECT_THAT(refusal_of([] { read_pickle("", "F"); }), damaged("1 bytes announced, 0 left"));
  EXPECT_THAT(refusal_of([] { read_pickle("\x80\x02N", "F"); }),
              damaged("1 bytes announced, 0 left (opcode missing at byte 3)"));
  EXPECT_THAT(refusal_of([] { read_pickle("\x80\x06N.", "F"); }), damaged("protocol 6"));
  EXPECT_THAT(refusal_of([] { read_pickle("\x80\x02N.x", "F"); }), damaged("1 bytes follow"));
  EXPECT_THAT(refusal(""), damaged("too little is on the stack"));
  EXPECT_THAT(refusal("NN"), damaged("something is left on the stack"));
  EXPECT_THAT(refusal("N("), damaged("too little is on the stack"));
  EXPECT_THAT(refusal("N(0("), damaged("too little"));
  EXPECT_THAT(refusal("0"), damaged("too little is on the stack"));
  EXPECT_THAT(refusal("2"), damaged("nothing is on the stack"));
  EXPECT_THAT(refusal("N(2"), damaged("nothing is on the stack"));
  EXPECT_THAT(refusal("N(\x85"), damaged("too little"));  // not from below the mark
  EXPECT_THAT(refusal("t"), damaged("no mark is open"));
  EXPECT_THAT(refusal("1"), damaged("no mark is open"));
  EXPECT_THAT(refusal("NNa"), damaged("items for what holds none"));
  EXPECT_THAT(refusal("]NNs"), damaged("items for what holds none"));
  EXPECT_THAT(refusal(")Na"), damaged("items for what holds none"));
  EXPECT_THAT(refusal("}(Nu"), damaged("a key without a value"));
  EXPECT_THAT(refusal("(Nd"), damaged("a key without a value"));
  EXPECT_THAT(refusal("h\x01"), damaged("nothing is in memo 1"));
  EXPECT_THAT(refusal("Nq\x02h\x01"), damaged("nothing is in memo 1"));
  EXPECT_THAT(refusal("q\x01"), damaged("nothing is on the stack"));
  EXPECT_THAT(refusal("NN\x93"), damaged("a name that is no text"));
  EXPECT_THAT(refusal(p_name("torch", "Size") + "]R"), damaged("arguments that are no tuple"));
  EXPECT_THAT(refusal(p_name("collections", "OrderedDict") + "N\x85R"),
              damaged("an ordered dict with arguments"));
}

TEST(Pickle, AnnouncementsAreBounded) {
  EXPECT_THAT(refusal("X\xff\xff\xff\xff"), HasSubstr("4294967295 bytes announced, 1 left"));
  EXPECT_THAT(refusal("\x8d" + little(~0ull, 8)), HasSubstr("bytes announced, 1 left"));
  EXPECT_THAT(refusal("\x95" + little(~0ull, 8)), HasSubstr("bytes announced, 1 left"));
  EXPECT_THAT(refusal("\x8b" + little(0xffffffff, 4)), HasSubstr("bytes announced, 1 left"));
  EXPECT_THAT(refusal("\x8a\x09" + std::string(9, 'x')), HasSubstr("an integer of 9 bytes"));
  EXPECT_THAT(refusal("Nr\xff\xff\xff\xff"), HasSubstr("memo 4294967295"));
  EXPECT_THAT(refusal("c" + std::string(300, 'x') + "\n"), HasSubstr("no line of 200 bytes"));
  EXPECT_THAT(refusal("cos\nsystem"), HasSubstr("no line of 200 bytes"));
  EXPECT_THAT(refusal(std::string(1001, '(')), HasSubstr("more than 1000 open marks"));
  EXPECT_THAT(refusal(std::string(1'000'001, 'N')), HasSubstr("more than 1000000 values at work"));
  EXPECT_THAT(refusal("N" + std::string(1'000'001, '2')),
              HasSubstr("more than 1000000 values at work"));
  std::string dropped;
  for (int i = 0; i < 2'000'001; ++i) dropped += "N0";
  EXPECT_THAT(refusal(dropped), HasSubstr("more than 2000000 values"));
  EXPECT_THAT(refusal_of([] { read_pickle(std::string(kLongestPickle + 1, 'N'), "F"); }),
              HasSubstr("expected at most 67108864"));
}

TEST(Pickle, CyclesAreValuesLikeOthers) {
  const Pickle pickle = read(
      "]q\x01h\x01"
      "a");
  EXPECT_EQ(pickle[pickle.root].items, std::vector<uint32_t>{pickle.root});
}

}  // namespace
}  // namespace assay::data
