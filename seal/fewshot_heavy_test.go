package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

// One real ARC task and one self-edit, end to end, on random weights of
// Llama-3.2-1B's shape with its tokenizer: the adapter of the paper's rank is
// trained and the task answered and voted on. It reports tokens per second and
// memory. Set SELKIE_HEAVY and a -timeout; it takes many minutes and 5 GiB.
func TestDataFewshotLlama1B(t *testing.T) {
	if os.Getenv("SELKIE_HEAVY") == "" {
		t.Skip("SELKIE_HEAVY is not set")
	}
	data := testdata.Dir(t)
	name := func(what string) string {
		return filepath.Join(data, "arc", "arc-agi_training_"+what+"_filtered_1B_training_set.json")
	}
	tasks, err := arc.ReadChallenges(name("challenges"))
	if err != nil {
		t.Fatal(err)
	}
	solutions, err := arc.ReadSolutions(name("solutions"))
	if err != nil {
		t.Fatal(err)
	}
	if err := arc.AddSolutions(tasks, solutions); err != nil {
		t.Fatal(err)
	}
	config, err := nn.Preset("llama3.2-1b")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(filepath.Join(data, "tokenizers", "llama3.2"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := nn.WriteRandom(dir, config, 1); err != nil {
		t.Fatal(err)
	}
	dev, err := tensor.Open("cpu", tensor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m, err := nn.Load(dev, dir, nn.LoadOptions{Compute: tensor.BF16})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()

	s := settings.DefaultFewshot()
	s.Inner.Examples, s.Answer.MaxNew, s.Run.MaxBatchTokens = 8, 24, 1024
	f, err := newFewshot(s, FewshotInputs{Model: m, Tokenizer: tok, Train: tasks[:1], Eval: tasks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	edit := arc.Edit{Tools: arc.Tools{Basic: true}, Strategy: arc.OutputTokens, LR: 1e-4, Epochs: 1}.JSON()
	trial := Trial{Article: articlesOf(tasks)[0], Sequences: []string{edit}}
	job, _, err := f.trainingJob(trial)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if _, err := m.FinetuneAdapters(t.Context(), []nn.Job{job}, nn.FinetuneOptions{MaxTokens: s.Run.MaxBatchTokens}); err != nil {
		t.Fatal(err)
	}
	training := time.Since(started)
	started = time.Now()
	outcomes, err := f.testTogether(t.Context(), m, []Trial{trial})
	if err != nil {
		t.Fatal(err)
	}
	o := outcomes[0]
	if o.Steps != job.Steps() || o.Diverged != "" || len(o.Task.Inputs) != len(tasks[0].Tests) || o.Task.Inputs[0].Asked == 0 {
		t.Errorf("outcome %+v of %d steps", o, job.Steps())
	}
	asked := 0
	for i := range tasks[0].Tests {
		questions, err := f.ask(tasks[0].ID, i)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range questions {
			asked += len(q.tokens) + s.Answer.MaxNew
		}
	}
	answering := time.Since(started) - training
	t.Logf("task %s: %d examples, %d steps of rank %d, %d tokens in %v: %.1f tokens/s trained", tasks[0].ID, len(job.Examples), o.Steps, s.Inner.Rank, job.Tokens(),
		training.Round(time.Second), float64(job.Tokens())/training.Seconds())
	t.Logf("answering: at most %d tokens read or written, in about %v", asked, answering.Round(time.Second))
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmHWM") {
				t.Log("resident memory at most" + strings.TrimPrefix(strings.TrimSpace(line), "VmHWM:"))
			}
		}
	}
}
