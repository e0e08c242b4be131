"""Makes the comparison vectors of this folder with Hugging Face's libraries.

    pip install tokenizers transformers jinja2
    python make_vectors.py [--random N --out DIR]

texts.json: the texts. For each kind: KIND/tokenizer.json, KIND/tokenizer_config.json
and KIND/cases.jsonl, for each text in order {ids, ids_with_special (if different),
decoded (if not the text), decoded_skip_special (if not decoded)}, then {ids,
decoded} of ids that no text gives. trained.json: what BpeTrainer makes of a corpus.
chats.jsonl: {template, messages, kwargs, text or error}.

--random adds N texts drawn from all of Unicode, for checks too big to keep.
"""
import argparse, json, os, random, sys
from tokenizers import Tokenizer, AddedToken, Regex, models, trainers, normalizers, pre_tokenizers, decoders, processors
from transformers import PreTrainedTokenizerFast

here = os.path.dirname(os.path.abspath(__file__))
args = argparse.ArgumentParser()
args.add_argument("--random", type=int, default=0)
args.add_argument("--out", default=here)
args = args.parse_args()

LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA.replace(r"\p{N}{1,3}", r"\p{N}")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CORPUS = """The river rises in the northern hills and runs for ninety miles to the sea.
It's said that they'd never seen it; we've heard, I'm sure, she'll tell you're right.
In 1987 the mill made 12345 bolts, 678 nuts and 90 hinges. The miller's name was Anne.
Das Mädchen läßt die Tür offen, naïve café façade; où êtes-vous?  Ω и я, 日本語の文。
    for i in range(100):\n        total += values[i] * 3.14\n\treturn total\n\n
the the the the then there other mother father weather whether lather rather
"""

TEXTS = ["", " ", "  ", "\n", "\r\n", " \n \n  x", "\t\tx", "x ", "x  ", " x", "  x", "a\u00a0b \u3000c\u2003", "\u0085x\u2028y",
    "Hello, world!", "the rather the", "THE RATHER", "it's IT'S it'ſ 'Tis we'Re they'LL 'x", "don't 'd'", "'", "''s", "x'", "'ré",
    "1", "12", "123", "1234567", "3.14 1,000", "x1y22z333", "١٢٣٤ Ⅷ ½ ²", "a1 b2", "...!?\n\n;", " ...\n", "!\r\n\r\nx", "a\n\n\nb", "a \n b",
    "naïve café façade", "cafe\u0301 e\u0301\u0323 \u212b \u1e9b\u0323 ﬁ ﬀ", "가각 \u1100\u1161\u11a8", "日本語のテキスト、漢字。", "العربية שלום",
    "हिन्दी ক্ষ", "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️", "\u200b\u200d\ufeffx", "İstanbul ΑΣ ß ẞ ǅ", "a" * 70, "the " * 30, "▁x ▁▁ y", "_ __x__", "x▁", "▁",
    "<s>", "<s>x</s>", "x <s> y", "<pad><pad>", "<mask>", "a<mask>b", "a <mask> b", " <mask>", "word<mask>", "x<lft>y", "x  <lft>  y", "x<rgt>y", "x  <rgt>  y",
    "<norm>", "<NORM>", " <norm> ", "x <norm>y", "<one>x", "<one> x", "x<one>", "_<one>", "x é<one>", "<on", "<s><s>", "<lft><rgt>  <lft>",
    "<0x41><0x0A>", "Ġ Ċ", "\x00\x01\x7f", "\ufffd", "e" + "\u0301\u0316" * 20 + "x", "q\u0327\u0323\u0301", "\U0001d15e \U0001d7d8 \U000e0001",
    "for i in range(100):\n        total += 3\n\treturn", "a/b\\c //\n/x", "ABCdefGHI camelCase HTTPServer's"]

def words(tok, size, alphabet, special):
    tok.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=special, show_progress=False))
    return tok

ADDED = [AddedToken("<mask>", lstrip=True, special=True, normalized=False), AddedToken("<pad>", special=True, normalized=False),
         AddedToken("<lft>", lstrip=True, normalized=False), AddedToken("<rgt>", rstrip=True, normalized=False),
         AddedToken("<norm>", normalized=True), AddedToken("<one>", single_word=True, normalized=False), AddedToken("naïve é", normalized=True)]

def template(before, after=()):
    pieces = [*before, "$A", *after]
    return lambda t: processors.TemplateProcessing(single=" ".join(pieces), special_tokens=[(s, t.token_to_id(s)) for s in {*before, *after}])

def byte_level(pre, norm=None, post=None, size=320, ignore_merges=False):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.pre_tokenizer, tok.decoder = pre, decoders.ByteLevel()
    if norm: tok.normalizer = norm
    words(tok, size, sorted(pre_tokenizers.ByteLevel.alphabet()), ["<s>", "</s>"])
    tok.add_tokens(ADDED)
    if post: tok.post_processor = post(tok)
    return tok

def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior, invert), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

def fallback(norm, pre, dec, post=None, unk="<unk>", fuse=True, bytes_=True):
    vocab = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if bytes_ else [])
    tok = Tokenizer(models.BPE(unk_token=unk, fuse_unk=fuse))
    tok.normalizer = normalizers.Replace(" ", "▁")
    words(tok, 140, ["▁"], [])
    state = json.loads(tok.to_str())["model"]
    for piece in state["vocab"]:
        if piece.isascii() or "▁" in piece: vocab.append(piece)
    known = set(vocab)
    merges = [tuple(m) for m in state["merges"] if set(m) | {"".join(m)} <= known]
    tok = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(vocab)}, merges=merges, unk_token=unk, fuse_unk=fuse, byte_fallback=bytes_))
    if norm: tok.normalizer = norm
    if pre: tok.pre_tokenizer = pre
    tok.decoder = dec
    tok.add_special_tokens(["<unk>", "<s>", "</s>"])
    tok.add_tokens(ADDED)
    if post: tok.post_processor = post(tok)
    return tok

SP_NORM = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
SP_DEC = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
NFKC = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(True, False), normalizers.Replace(Regex(r"\s+"), " ")])

kinds = {
    "llama": byte_level(split(LLAMA), post=template(["<s>"]), ignore_merges=True),
    "qwen": byte_level(split(QWEN), norm=normalizers.NFC()),
    "gpt2": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), post=template(["<s>"], ["</s>", "<pad>"])),
    "cased": byte_level(split(CASED), norm=normalizers.NFD()),
    "nfkc": byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split(Regex(r"\p{P}"), "merged_with_previous"),
        pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), norm=NFKC),
    "split": byte_level(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{N}+"), "contiguous", False), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex("[aeiou]"), "removed", True), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])),
    "fallback": fallback(SP_NORM, None, SP_DEC, template(["<s>"])),
    "metaspace-always": fallback(None, pre_tokenizers.Metaspace(prepend_scheme="always"), decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])),
    "metaspace-first": fallback(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), decoders.Metaspace(prepend_scheme="first"), bytes_=False),
    "metaspace-never": fallback(normalizers.Replace(" ", "▁"), pre_tokenizers.Metaspace(prepend_scheme="never"),
        decoders.Sequence([decoders.Metaspace(prepend_scheme="never"), decoders.Fuse(), decoders.Replace("x", "<>"), decoders.Strip(" ", 0, 2)]), fuse=False, bytes_=False),
}
cleanup = {"split": dict(clean_up_tokenization_spaces=True, clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output=True),
           "llama": dict(clean_up_tokenization_spaces=True)}

def decode(hf, ids, **kwargs):
    """hf.decode, but for a crash: Strip's stop counts below an empty token's start."""
    try:
        return hf.decode(ids, **kwargs)
    except BaseException as e:
        if "PanicException" not in str(type(e)): raise
        return None

rng = random.Random(1)
def anything():
    blocks = [(0, 0x250), (0x300, 0x370), (0x370, 0x1000), (0x1000, 0x2100), (0x2000, 0x2070), (0x2100, 0x3100), (0x3000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x20000), (0x1F000, 0x1FAFF), (0x20000, 0x10FFFF)]
    out = ""
    while len(out) < 40:
        lo, hi = rng.choice(blocks)
        out += "".join(chr(rng.randrange(lo, hi)) for _ in range(rng.randrange(1, 6))) + rng.choice(["", "", " ", "  ", "\n", "'s", "7", "the", " <lft> ", "<one>"])
    return out
texts = TEXTS + [anything() for _ in range(args.random)]
if args.random:  # every character, among letters, spaces and marks
    texts += ["a" + chr(c) + "b " + chr(c) + "1" + chr(c) for c in range(0x10FFFF) if not 0xD800 <= c < 0xE000 and (c < 0x32400 or c >= 0xE0000 and c < 0xE0200)]

os.makedirs(args.out, exist_ok=True)
json.dump(texts, open(os.path.join(args.out, "texts.json"), "w"), ensure_ascii=False)
for name, tok in kinds.items():
    dir = os.path.join(args.out, name)
    os.makedirs(dir, exist_ok=True)
    tok.save(os.path.join(dir, "tokenizer.json"), pretty=False)
    cfg = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>"}, **cleanup.get(name, {})}
    json.dump(cfg, open(os.path.join(dir, "tokenizer_config.json"), "w"))
    hf = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", **cleanup.get(name, {}))
    with open(os.path.join(dir, "cases.jsonl"), "w") as f:
        put = lambda d: print(json.dumps(d, ensure_ascii=False, separators=(",", ":")), file=f)
        for text in texts:
            ids = tok.encode(text, add_special_tokens=False).ids
            case = {"ids": ids, "ids_with_special": tok.encode(text).ids}
            if case["ids_with_special"] == ids: del case["ids_with_special"]
            decoded, skip = decode(hf, ids), decode(hf, ids, skip_special_tokens=True)
            if decoded != text: case["decoded"] = decoded
            if skip != decoded: case["decoded_skip_special"] = skip
            put(case)
        for n in range(12 + args.random // 4):
            ids = [rng.randrange(tok.get_vocab_size()) for _ in range(8)]
            put({"ids": ids, "decoded": decode(hf, ids)})

trained = Tokenizer(models.BPE())
trained.pre_tokenizer, trained.decoder = split(LLAMA), decoders.ByteLevel()
trained.train_from_iterator(CORPUS.splitlines(keepends=True), trainers.BpeTrainer(vocab_size=500, min_frequency=2,
    initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<s>", "</s>"], show_progress=False))
state = json.loads(trained.to_str())["model"]
json.dump({"corpus": CORPUS.splitlines(keepends=True), "vocab_size": 500, "min_frequency": 2, "special": ["<s>", "</s>"],
    "tokens": sorted(state["vocab"], key=state["vocab"].get), "merges": state["merges"]}, open(os.path.join(args.out, "trained.json"), "w"), ensure_ascii=False, separators=(",", ":"))

# Chat templates in the styles that models come with.
CHATML = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
ALTERNATE = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim + '\n\n' %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set system = '' %}
    {%- set turns = messages %}
{%- endif %}
{% for message in turns %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate') }}
    {% endif %}
    {%- if message.role == 'user' -%}
        [INST] {{ (system if loop.first else '') + message.content.strip() }} [/INST]
    {%- elif message['role'] == 'assistant' %}
        {% generation %}{{ ' ' + message['content'] | trim + eos_token }}{% endgeneration %}
    {%- endif %}
{%- endfor %}
"""
TURNS = """{{ bos_token }}{% set ns = namespace(n=0, last='') %}{% for message in messages %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{% if message['content'] is string %}{% set text = message['content'] %}{% else %}
{% set ns.last = '' %}
{% for part in message['content'] %}{% if part['type'] == 'text' %}{% set ns.last = ns.last + part['text'] %}{% endif %}{% endfor %}
{% set text = ns.last %}
{% endif %}
{% set ns.n = ns.n + 1 %}
<turn {{ ns.n }}>{{ role }}
{{ text | trim }}<end>
{% endfor %}
{% if add_generation_prompt %}<turn>model
{% endif %}"""
TOOLS = """{% if tools %}{{ '# Tools\n' }}{% for t in tools %}{{ t | tojson }}{{ '\n' }}{% endfor %}{{ tools | tojson(indent=2) }}{{ '\n' }}{% endif %}
{% for m in messages %}
{% if m.role == 'assistant' and m.tool_calls is defined and m.tool_calls %}
{% for call in m.tool_calls %}{% set f = call.function %}<call>{{ f.name }}{% for k, v in f.arguments.items() %} {{ k }}={{ v | tojson }}{% endfor %}</call>
{% endfor %}
{% elif m.content is none or 'content' not in m %}(nothing)
{% else %}{{ m.role | upper }}: {{ m.content.split('</think>')[-1].lstrip('\n') }}{{ m.get('name', '?') }}
{% endif %}{% endfor %}
{% if enable_thinking is defined and enable_thinking is false %}<no thinking>{% endif %}"""
DATE = "{% if date_string is defined %}{{ date_string }}{% elif strftime_now is defined %}clock{% else %}none{% endif %}|{% macro show(x, y='-') %}[{{ x }}{{ y }}]{% endmacro %}{{ show('a') }}{{ show('b', y=messages|length) }}|{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ ',' if not loop.last }}{% else %}nobody{% endfor %}|{{ messages | map(attribute='role') | join('-') }}|{{ messages[-1].content[:3] }}{{ messages[-1]['content'][-2:] }}|{{ 7 // 2 }} {{ 7 % 4 }} {{ 1 == 1.0 }} {{ 'x' ~ 3 }} {{ 'a' if messages|length > 5 else 'b' if date_string is defined else 'c' }}{{ ['p' if 1 else 'q', ('' if true else 'z')] | join('+') }}{{ dict(a='m' if false else 'n').a }}{% set v = 'its' if 0 else 'if (x else y)' %}{{ v }}{# (a if b else c) #}{{ messages[-1]['content'] | default('d' if 1 else 'e') | length }}"
A = {"role": "user", "content": "  Hi there \n"}
B = {"role": "assistant", "content": "Hello & <b>'you'</b>"}
S = {"role": "system", "content": "Be brief."}
P = {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "image"}, {"type": "text", "text": "two é"}]}
C = {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {"b": 1.0, "a": [1, "ü\n\"", None, True], "c": {"z": 1e20, "y": 0.00001}}}}]}
T = [{"type": "function", "function": {"name": "add", "description": "Adds <a> & 'b'", "parameters": {"type": "object", "properties": {"z": {"type": "integer"}, "a": {}}, "required": []}}}]
chats = [(CHATML, [A], {}), (CHATML, [S, A, B], {"add_generation_prompt": True}), (CHATML, [], {}),
    (ALTERNATE, [A], {}), (ALTERNATE, [S, A, B, A], {}), (ALTERNATE, [A, A], {}), (ALTERNATE, [S, A, B, A, B], {"add_generation_prompt": True}),
    (TURNS, [A, B], {"add_generation_prompt": True}), (TURNS, [P, B, P], {}),
    (TOOLS, [A, C, {"role": "tool", "content": "3", "name": "add"}], {"tools": T}), (TOOLS, [A, {"role": "assistant", "content": None}], {"enable_thinking": False}),
    (TOOLS, [A, {"role": "assistant", "content": "<think>\nx</think>\n\nyes"}], {"enable_thinking": True}),
    (DATE, [S, A, B], {"date_string": "26 Jul 2024"}), (DATE, [S, B], {"date_string": "1 Jan 2030"})]
hf = PreTrainedTokenizerFast(tokenizer_object=kinds["llama"], bos_token="<s>", eos_token="</s>")
with open(os.path.join(args.out, "chats.jsonl"), "w") as f:
    for source, messages, kwargs in chats:
        case = {"template": source, "messages": messages, "kwargs": kwargs}
        try:
            case["text"] = hf.apply_chat_template(messages, chat_template=source, tokenize=False, **kwargs)
        except Exception as e:
            case["error"] = str(e)
        print(json.dumps(case, ensure_ascii=False, separators=(",", ":")), file=f)
