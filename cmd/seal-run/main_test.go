package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// TestMain lets the test binary be the program, for what a process does.
func TestMain(m *testing.M) {
	if os.Getenv("SEAL_RUN_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// try runs the program.
func try(in string, args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = run(args, strings.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

// must runs the program and wants success.
func must(t *testing.T, args ...string) (out, errOut string) {
	t.Helper()
	code, out, errOut := try("", args...)
	if code != 0 {
		t.Fatalf("seal-run %s: exit code %d\n%s", strings.Join(args, " "), code, errOut)
	}
	return out, errOut
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// variant copies a model folder with one file changed; a nil change removes it.
func variant(t *testing.T, model, name string, change func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(model)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		text := read(t, filepath.Join(model, e.Name()))
		if e.Name() == name {
			if change == nil {
				continue
			}
			text = change(text)
		}
		write(t, filepath.Join(dir, e.Name()), text)
	}
	return dir
}

func replace(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("nothing to replace: " + old)
		}
		return strings.ReplaceAll(s, old, new)
	}
}

func first(n int) func(string) string { return func(s string) string { return s[:n] } }

// Bad input gives one message that names what is wrong, an exit code, and
// leaves nothing behind.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	in := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	model := filepath.Join(dir, "mini")
	must(t, "init", "--like", "mini", "--out", model)
	adapter := filepath.Join(dir, "adapter")
	data := in("data.jsonl", `{"text":"the cat sat"}`+"\n")
	must(t, "finetune", "--model", model, "--data", data, "--epochs", "1", "--rank", "2", "--out", adapter)
	text := in("text.txt", "one\n\ntwo\n")
	articles := func(title, passage, question, answer string) string {
		return fmt.Sprintf(`[{"title":%q,"context":%q,"questions":[{"question":%q,"answer":%q}]}]`, title, passage, question, answer)
	}
	eval := in("eval.json", articles("T", "C", "Q?", "A"))
	changed := func(file string, f func(string) string) string { return variant(t, model, file, f) }
	larger, err := tokenizer.Bytes(600)
	if err != nil {
		t.Fatal(err)
	}
	if err := larger.Save(filepath.Join(dir, "larger")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")

	generate := func(m string, more ...string) []string {
		return append([]string{"generate", "--model", m, "--prompt", "x", "--max-tokens", "1"}, more...)
	}
	finetune := func(d string, more ...string) []string {
		return append([]string{"finetune", "--model", model, "--data", d, "--out", out}, more...)
	}
	ask := func(d string, more ...string) []string {
		return append([]string{"eval", "--model", model, "--data", d}, more...)
	}
	pre := func(more ...string) []string {
		return append([]string{"pretrain", "--text", text, "--out", out}, more...)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no such command", []string{"genrate"}, `unknown command "genrate"`},
		{"no such flag", []string{"generate", "--modle", "x"}, "unknown flag: --modle"},
		{"argument too many", []string{"init", "x"}, "unknown command"},
		{"no such device", generate(model, "--device", "tpu"), `device "tpu": want auto, cpu, cuda, cuda:1, emulated, emulated:h100 or ref`},
		{"bad limit", generate(model, "--memory-limit", "lots"), `--memory-limit: got "lots", expected a size such as 3GiB`},
		{"bad threads", generate(model, "--threads", "-1"), "--threads -1: expected 0 or more"},
		{"bad progress", ask(eval, "--progress", "loud"), "--progress loud: expected one of auto, bar, lines, none"},

		{"no model named", []string{"generate", "--prompt", "x"}, "--model is missing"},
		{"no model", generate(filepath.Join(dir, "none")), "config.json"},
		{"no prompt", []string{"generate", "--model", model}, "the prompt is empty"},
		{"no prompt file", []string{"generate", "--model", model, "--prompt-file", filepath.Join(dir, "none.txt")}, "none.txt"},
		{"no tokens wanted", generate(model, "--n", "0"), "--n 0"},
		{"bad sampling", generate(model, "--top-p", "2"), "top-p is 2: want 0 … 1"},
		{"bad compute", generate(model, "--compute", "f8"), "--compute f8: expected f32, bf16 or auto"},
		{"no chat template", generate(model, "--chat"), "chat template"},
		{"system without chat", generate(model, "--system", "s"), "--system belongs to --chat"},
		{"prompt too long", []string{"generate", "--model", model, "--prompt", strings.Repeat("x", 300)}, "the prompt has 300 tokens, which leaves no room in the model's context of 256"},

		{"half a config", generate(changed("config.json", first(40))), "config.json: line "},
		{"no config", generate(changed("config.json", nil)), "config.json"},
		{"other architecture", generate(changed("config.json", replace(`"llama"`, `"gpt2"`))), `model_type "gpt2" is not supported: want llama or qwen2`},
		{"other RoPE", generate(changed("config.json", replace(`"rope_theta"`, `"rope_scaling":{"rope_type":"yarn","factor":2},"rope_theta"`))), `RoPE type "yarn" is not supported`},
		{"other shape", generate(changed("config.json", replace(`"hidden_size": 64`, `"hidden_size": 32`))), "has shape"},
		{"impossible shape", generate(changed("config.json", replace(`"num_attention_heads": 4`, `"num_attention_heads": 0`))), "num_attention_heads is 0"},
		{"missing tensor", generate(changed("config.json", replace(`"num_hidden_layers": 2`, `"num_hidden_layers": 3`))), "model.layers.2."},
		{"truncated weights", generate(changed("model.safetensors", first(5000))), "model.safetensors"},
		{"lying header", generate(changed("model.safetensors", func(s string) string { return "\xff\xff\xff\xff\xff\xff\xff\x7f" + s[8:] })), "model.safetensors"},
		{"no weights", generate(changed("model.safetensors", nil)), "model.safetensors"},
		{"half a tokenizer", generate(changed("tokenizer.json", first(300))), "tokenizer.json"},
		{"no tokenizer", generate(changed("tokenizer.json", nil)), "tokenizer.json"},
		{"other tokenizer", generate(changed("tokenizer.json", replace(`"type": "BPE"`, `"type": "Unigram"`))), "Unigram"},
		{"vocabulary too small", generate(changed("config.json", replace(`"vocab_size": 512`, `"vocab_size": 300`))), "the tokenizer has 512 entries, the model a vocabulary of 300"},
		{"no adapter", generate(model, "--adapter", filepath.Join(dir, "none")), "adapter_config.json"},
		{"another model's adapter", generate(model, "--adapter", variant(t, adapter, "adapter_config.json", replace(`"r": 2`, `"r": 4`))), "has shape"},
		{"adapter of rank 0", generate(model, "--adapter", variant(t, adapter, "adapter_config.json", replace(`"r": 2`, `"r": 0`))), "LoRA rank is 0: want 1"},
		{"another kind of adapter", generate(model, "--adapter", variant(t, adapter, "adapter_config.json", replace(`"LORA"`, `"IA3"`))), `peft_type "IA3" is not supported`},
		{"too little memory", generate(model, "--memory-limit", "10KB"), "this model needs about 234.7 KiB of memory, but the memory limit is 9.8 KiB"},

		{"no data named", []string{"finetune", "--model", model, "--out", out}, "--data is missing"},
		{"no data", finetune(filepath.Join(dir, "none.jsonl")), "none.jsonl"},
		{"half a line", finetune(in("half.jsonl", `{"text":"x"}`+"\n"+`{"text":"y`)), "half.jsonl:2: malformed JSON"},
		{"empty text", finetune(in("blank.jsonl", `{"text":" "}`)), `blank.jsonl:1: field "text" is empty`},
		{"empty data", finetune(in("empty.jsonl", "\n")), "empty.jsonl: holds no records"},
		{"text too long", finetune(in("long.jsonl", `{"text":"`+strings.Repeat("x", 300)+`"}`)), "long.jsonl:1: 301 tokens, but at most 256"},
		{"rank 0", finetune(data, "--rank", "0"), "LoRA rank is 0: want 1 … 1024"},
		{"no such target", finetune(data, "--targets", "w_proj"), `--targets: target "w_proj" is not a linear layer`},
		{"no such schedule", finetune(data, "--schedule", "step"), `schedule "step": want constant, linear, cosine`},
		{"bad rate", finetune(data, "--lr", "-1"), "learning rate is -1"},
		{"diverging adapter", finetune(data, "--lr", "1e30", "--epochs", "5"), "training diverged at step"},
		{"folder in use", []string{"finetune", "--model", model, "--data", data, "--out", filepath.Join(dir, "larger")}, "larger is not empty: choose another folder"},
		{"another finetuning's folder", []string{"finetune", "--model", model, "--data", data, "--out", adapter}, "adapter was begun with other settings:\n  alpha: was 4, is now 64\n  epochs: was 1, is now 3\n  rank: was 2, is now 32"},
		{"unwritable folder", []string{"finetune", "--model", model, "--data", data, "--out", filepath.Join(text, "x"), "--epochs", "1"}, "text.txt"},
		{"too little memory to train", finetune(data, "--memory-limit", "100KB"), "the training needs about"},

		{"no articles named", []string{"eval", "--model", model}, "--data is missing"},
		{"no articles", ask(filepath.Join(dir, "none.json")), "none.json"},
		{"half an article", ask(in("cut.json", "[{\n\"title\":")), "cut.json"},
		{"empty title", ask(in("a.json", articles(" ", "C", "Q", "A"))), "a.json: article 0: field title is missing or empty"},
		{"empty passage", ask(in("b.json", articles("T", "", "Q", "A"))), "article 0: field context is missing or empty"},
		{"empty question", ask(in("c.json", articles("T", "C", "", "A"))), "questions[0].question is missing or empty"},
		{"empty answer", ask(in("d.json", articles("T", "C", "Q", " "))), "questions[0].answer is missing or empty"},
		{"question too long", ask(in("e.json", articles("T", "C", strings.Repeat("x", 300), "A"))), "which leaves no room in the model's context of 256"},
		{"no such grader", ask(eval, "--grader", "gpt"), "--grader gpt: expected match, learned or exact"},
		{"prompt without place", ask(eval, "--prompt", in("prompt.txt", "answer!")), "prompt.txt"},
		{"unwritable verdicts", ask(eval, "--max-tokens", "1", "--out", filepath.Join(text, "v.jsonl")), "text.txt"},

		{"no shape named", []string{"init", "--out", out}, "--like is missing: expected one of demo, "},
		{"no such shape", []string{"init", "--like", "qwen9", "--out", out}, `no model shape "qwen9" is known: want one of demo, `},
		{"no such type", []string{"init", "--like", "mini", "--dtype", "int4", "--out", out}, `dtype: got "int4", expected float32, bfloat16 or float16`},
		{"tokenizer too large", []string{"init", "--like", "mini", "--tokenizer", filepath.Join(dir, "larger"), "--out", out}, "the tokenizer has 600 entries, mini a vocabulary of 512"},

		{"nothing to train on", []string{"pretrain", "--out", out}, "expected either --text FILE or --world demo"},
		{"no such world", []string{"pretrain", "--world", "earth", "--out", out}, "--world earth: expected demo"},
		{"no folder", []string{"pretrain", "--text", text}, "--out is missing"},
		{"no such text", []string{"pretrain", "--text", filepath.Join(dir, "none.txt"), "--out", out}, "none.txt"},
		{"unknown setting", pre("--set", "schedule.warmpu=3"), `unknown setting "schedule.warmpu": did you mean schedule.warmup?`},
		{"setting without group", pre("--set", "hiden=3"), `did you mean model.hidden?`},
		{"no value", pre("--set", "steps"), "--set steps: expected key=value"},
		{"bad value", pre("--set", "steps=many"), `steps: got "many", expected a whole number`},
		{"unknown setting in a file", pre("--config", in("s.yaml", "steps: 3\nmodel:\n  hiddn: 4\n")), `s.yaml:3:10: unknown setting "model.hiddn": did you mean model.hidden?`},
		{"not a setting's value", pre("--config", in("l.yaml", "steps: [1, 2]\n")), "l.yaml:1:8: steps: got a list"},
		{"broken file", pre("--config", in("x.yaml", "steps: [1\n")), "x.yaml:1"},
		{"no config file", pre("--config", filepath.Join(dir, "none.yaml")), "none.yaml"},
		{"no steps", pre("--set", "steps=0"), "0 steps: want 1 or more"},
		{"odd head", pre("--set", "model.head_dim=5"), "head_dim 5 is odd"},
		{"vocabulary too small to train", pre("--set", "model.vocabulary=100"), "vocabulary size 100"},
		{"model's folder", []string{"pretrain", "--text", text, "--out", model}, "mini holds a model already: choose another folder"},
		{"impossible rate", pre("--set", "schedule.lr=0"), "expected lr above 0"},
		{"too large", pre("--set", "model.hidden=1048576", "--set", "model.intermediate=1048576"), "the training needs about"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := try("", append(c.args, "--quiet")...)
			if code != exitError {
				t.Errorf("exit code %d, want %d", code, exitError)
			}
			if !strings.Contains(stderr, c.want) {
				t.Errorf("says\n%swant %q", stderr, c.want)
			}
			if !strings.HasPrefix(stderr, "seal-run: ") || strings.Contains(stderr, "goroutine ") || stdout != "" {
				t.Errorf("stderr %q, stdout %q", stderr, stdout)
			}
			for _, weights := range []string{"model.safetensors", "adapter_model.safetensors"} {
				if _, err := os.Stat(filepath.Join(out, weights)); err == nil {
					t.Errorf("left %s behind", weights)
				}
			}
			_ = os.RemoveAll(out)
		})
	}
}

// Every command explains itself with an example that names it.
func TestHelpHasExamples(t *testing.T) {
	for _, c := range newRoot(&app{}).Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		out, _ := must(t, c.Name(), "--help")
		if c.Short == "" || !strings.Contains(out, "Examples:") || !strings.Contains(out, "seal-run "+c.Name()) {
			t.Errorf("%s --help:\n%s", c.Name(), out)
		}
	}
}

func TestPanicIsReported(t *testing.T) {
	saved := addCommands
	defer func() { addCommands = saved }()
	addCommands = append(addCommands[:len(addCommands):len(addCommands)], func(*app) *cobra.Command {
		return &cobra.Command{Use: "crash", RunE: func(*cobra.Command, []string) error { panic("at the disco") }}
	})
	code, _, errOut := try("", "crash")
	if code != exitInternal || !strings.Contains(errOut, "internal error: at the disco\nplease report") || strings.Contains(errOut, "goroutine") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// A model pretrained on a text, finetuned both ways, generates what it learnt.
func TestFromTextToText(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	text := write(t, path("book.txt"), strings.Repeat("the seal sings\n\nthe crab dances\n\n", 3))
	model := path("model")
	small := []string{"--set", "model.vocabulary=270", "--set", "model.hidden=32", "--set", "model.layers=1", "--set", "model.head_dim=8",
		"--set", "model.intermediate=64", "--set", "context=32", "--set", "batch_size=3", "--set", "steps=120", "--set", "schedule.warmup=5"}
	must(t, append([]string{"pretrain", "--text", text, "--out", model}, small...)...)
	out, _ := must(t, "generate", "--model", model, "--prompt", "the cr", "--max-tokens", "20")
	if out != "ab dances\n" {
		t.Errorf("the model says %q", out)
	}
	// The rest comes from stop strings, whole in --json, and while streaming.
	out, _ = must(t, "generate", "--model", model, "--prompt", "the cr", "--stop", "dan")
	if out != "ab \n" {
		t.Errorf("stopped at %q", out)
	}
	out, _ = must(t, "generate", "--model", model, "--prompt", "the cr", "--stop", "dan", "--json")
	var j struct{ Text, Finish string }
	if err := json.Unmarshal([]byte(out), &j); err != nil || j.Text != "ab " || j.Finish != "stop" {
		t.Errorf("%s: %v", out, err)
	}

	data := write(t, path("data.jsonl"), `{"prompt":"the crab","completion":" flies"}`+"\n"+`{"prompt":"the seal","completion":" swims"}`+"\n")
	must(t, "finetune", "--model", model, "--data", data, "--out", path("adapter"), "--epochs", "60", "--batch", "2", "--rank", "8", "--lr", "2e-2")
	out, _ = must(t, "generate", "--model", model, "--adapter", path("adapter"), "--prompt", "the seal", "--max-tokens", "20")
	if out != " swims\n" {
		t.Errorf("with the adapter it says %q", out)
	}
	full := []string{"finetune", "--full", "--model", model, "--data", data, "--out", path("full"), "--epochs", "40", "--batch", "2", "--lr", "1e-2"}
	must(t, full...)
	out, _ = must(t, "generate", "--model", path("full"), "--prompt", "the crab", "--max-tokens", "20")
	if out != " flies\n" {
		t.Errorf("finetuned in full it says %q", out)
	}
	if code, _, errOut := try("", append(full, "--seed", "5")...); code != exitError || !strings.Contains(errOut, "seed: was 0, is now 5") {
		t.Errorf("other settings: %d, %s", code, errOut)
	}

	questions := write(t, path("q.json"), `[{"title":"the","context":"x","questions":[{"question":" crab","answer":"flies"},{"question":" seal","answer":"walks"}]},`+
		`{"title":"the","context":"y","questions":[{"question":" seal","answer":"swims"}]}]`)
	prompt := write(t, path("prompt.txt"), "{topic}{question}")
	ask := []string{"eval", "--model", path("full"), "--data", questions, "--prompt", prompt, "--grader", "exact"}
	out, _ = must(t, append(ask, "--json", "--out", path("v.jsonl"))...)
	var result struct {
		Mean, Low, High       float64
		N, Questions, Correct int
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.N != 2 || result.Questions != 3 || result.Correct != 2 || result.Mean != 0.75 {
		t.Errorf("%s: %v", out, err)
	}
	var verdicts []verdict
	for line := range strings.Lines(read(t, path("v.jsonl"))) {
		var v verdict
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		verdicts = append(verdicts, v)
	}
	if len(verdicts) != 3 || verdicts[1].Answer != "swims" || verdicts[1].Correct || !verdicts[0].Correct {
		t.Errorf("verdicts %+v", verdicts)
	}
	out, _ = must(t, ask...)
	if !strings.HasPrefix(out, "accuracy 75.0 % (95 % interval 50.0 to 100.0) over 2 passages; 2 of 3 questions right") {
		t.Error(out)
	}
}

// Training that is interrupted ends with 130 and goes on to the same bytes.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt to send")
	}
	dir := t.TempDir()
	model := filepath.Join(dir, "mini")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	text := write(t, filepath.Join(dir, "book.txt"), strings.Repeat("the seal sings\n\nthe crab dances\n\n", 30))
	data := write(t, filepath.Join(dir, "data.jsonl"), `{"text":"the cat sat"}`+"\n"+`{"prompt":"the","completion":" dog"}`+"\n"+`{"text":"a seal"}`+"\n")
	for _, c := range []struct {
		name, result string
		args         []string
	}{
		{"pretrain", "model.safetensors", []string{"pretrain", "--text", text,
			"--set", "model.vocabulary=270", "--set", "model.hidden=32", "--set", "model.layers=1", "--set", "model.head_dim=8",
			"--set", "model.intermediate=64", "--set", "context=64", "--set", "batch_size=2", "--set", "steps=400"}},
		{"finetune", "adapter_model.safetensors", []string{"finetune", "--model", model, "--data", data, "--batch", "2", "--epochs", "200"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := func(out string) []string {
				return append(c.args[:len(c.args):len(c.args)], "--out", filepath.Join(dir, c.name, out), "--progress", "none", "--checkpoint-every", "1000")
			}
			must(t, args("whole")...)
			log := filepath.Join("training", "log.jsonl")
			interrupt(t, filepath.Join(dir, c.name, "stopped", log), args("stopped"))
			if _, err := os.Stat(filepath.Join(dir, c.name, "stopped", c.result)); err == nil {
				t.Fatal("it was finished before the interrupt")
			}
			must(t, args("stopped")...)
			for _, name := range []string{c.result, log} {
				if read(t, filepath.Join(dir, c.name, "stopped", name)) != read(t, filepath.Join(dir, c.name, "whole", name)) {
					t.Errorf("%s differs", name)
				}
			}
		})
	}
}

// interrupt starts the program and interrupts it when its log has some lines.
func interrupt(t *testing.T, log string, args []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SEAL_RUN_TEST_MAIN=1")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if data, err := os.ReadFile(log); err == nil && bytes.Count(data, []byte("\n")) > 20 {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !strings.Contains(errOut.String(), "the same command goes on where this one stopped") {
		t.Fatalf("%v: %s", err, errOut.String())
	}
}

// Work that keeps nothing says so when it is interrupted, and leaves no file.
func TestInterruptedWorkThatStartsOver(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt to send")
	}
	dir := t.TempDir()
	model, out, profile := filepath.Join(dir, "mini"), filepath.Join(dir, "verdicts.jsonl"), filepath.Join(dir, "profile")
	must(t, "init", "--like", "mini", "--out", model)
	question := `{"question":"Q","answer":"A"}`
	data := write(t, filepath.Join(dir, "data.json"), `[{"title":"T","context":"C","questions":[`+strings.Repeat(question+",", 50_000)+question+`]}]`)
	cmd := exec.Command(os.Args[0], "eval", "--model", model, "--data", data, "--cpuprofile", profile, "--out", out)
	cmd.Env = append(os.Environ(), "SEAL_RUN_TEST_MAIN=1")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The profile is begun when signals are already caught.
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(profile); err == nil {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !strings.HasSuffix(said.String(), "seal-run: interrupted\n") {
		t.Errorf("%v: %s", err, said.String())
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("left a file behind")
	}
}
