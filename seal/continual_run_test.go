package seal

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

func continualSettings(keep ...string) settings.Settings {
	s := tinySettings()
	s.Outer.Rounds, s.Eval.Controls = 0, nil
	s.Continual.Sequences, s.Continual.Length, s.Continual.Keep = 2, 3, keep
	s.Continual.KLSamples = 2
	return s
}

func continualInputs(t *testing.T, threads int) Inputs {
	in := tinyInputs(t, threads)
	in.Eval, in.Outside = in.Train, nil
	return in
}

// Every way runs, and stopped anywhere, on other threads and with other bounds,
// ends with the same files.
func TestContinualResumesWithEqualFiles(t *testing.T) {
	matrices := map[string]bool{}
	for _, keep := range [][]string{nil, {KeepReplay, KeepKL}, {KeepOrthogonal}, {KeepRouted}} {
		s := continualSettings(keep...)
		whole := t.TempDir()
		r, err := ExecuteContinual(t.Context(), whole, s, continualInputs(t, 2), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Summary.Sequences != 2 || r.Summary.Datapoints != 3 || len(r.Steps[1][2].Seen) != 3 || len(r.Steps[0][0].Edit.Text) == 0 {
			t.Errorf("%v: %+v", keep, r.Summary)
		}
		want := canonical(t, whole)
		matrices[want[filepath.Join("adapters", "continual-1", "002", "adapter_model.safetensors")]] = true
		broken := t.TempDir()
		stops := interruptions(t, 1, 1, func(ctx context.Context, limit int, progress func(string, int, int)) error {
			s.Run.MaxBatchTokens = 64 << (limit % 3)
			_, err := ExecuteContinual(ctx, broken, s, continualInputs(t, 1+limit%2), Options{Progress: progress})
			return err
		})
		got := canonical(t, broken)
		for name, data := range want {
			if name != "config.yaml" && got[name] != data {
				t.Errorf("%v: %s differs after %d stops", keep, name, stops)
			}
		}
		if stops == 0 || len(got) != len(want) {
			t.Errorf("%v: %d stops, %d files, want %d", keep, stops, len(got), len(want))
		}
		back, err := ReadContinual(broken)
		if err != nil || back.Memory != r.Memory {
			t.Errorf("%v: read back %+v, %v", keep, back.Memory, err)
		}
		d := ContinualReport("x", []ContinualMethod{{MethodName(keep), r, s}}, nil)
		if len(d.Heats) != 1 || len(d.Heats[0].Cells) != 4 || len(d.Heats[0].Cells[2]) != 2 || len(d.Tables[0].Rows) != 1 {
			t.Errorf("%v: report %+v", keep, d)
		}
	}
	if len(matrices) != 4 {
		t.Errorf("%d different last adapters of 4 ways", len(matrices))
	}
}

func TestContinualRefuses(t *testing.T) {
	s := continualSettings()
	s.Continual.Sequences = 3
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := ExecuteContinual(t.Context(), dir, s, continualInputs(t, 1), Options{}); err == nil || !strings.Contains(err.Error(), "6 articles are too few: continual.sequences × continual.length needs 9") {
		t.Errorf("error %v", err)
	}
	s = continualSettings(KeepRouted, KeepKL)
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "continual.keep") {
		t.Errorf("error %v", err)
	}
}

// An update that diverges is left out, and the sequence goes on.
func TestContinualDiverges(t *testing.T) {
	s := continualSettings()
	s.Inner.LR, s.Inner.ClipNorm, s.Inner.Epochs = 1e30, 0, 8
	r, err := ExecuteContinual(t.Context(), t.TempDir(), s, continualInputs(t, 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range r.Steps[1][2].Seen {
		if len(o.Right) != 2 {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestApartFrom(t *testing.T) {
	c := nn.Config{Layers: 1, HiddenSize: 12, Intermediate: 8, Heads: 2, KVHeads: 2, HeadDim: 6}
	lora := nn.LoRAConfig{Rank: 3, Alpha: 6, Targets: []nn.Projection{nn.QProj}}
	first, second, third := nn.NewAdapter(c, lora, nn.Key{1}), nn.NewAdapter(c, lora, nn.Key{2}), nn.NewAdapter(c, lora, nn.Key{3})
	apartFrom([]*nn.Adapter{first, nil})(second)
	apartFrom([]*nn.Adapter{first, second})(third)
	rows := func(a *nn.Adapter) [][]float64 { return rowsOf(a.Weights[0][nn.QProj].A, 3) }
	for _, pair := range [][2]*nn.Adapter{{first, second}, {first, third}, {second, third}} {
		for _, a := range rows(pair[0]) {
			for _, b := range rows(pair[1]) {
				if d := dot(a, b) / norm(a) / norm(b); math.Abs(d) > 1e-5 {
					t.Errorf("a cosine of %v", d)
				}
			}
		}
	}
	if norm(rows(third)[0]) < 0.01 {
		t.Error("nothing is left of the third")
	}
	// More rows than there are directions: one stays free.
	many := []*nn.Adapter{first, second, third, nn.NewAdapter(c, lora, nn.Key{4}), nn.NewAdapter(c, lora, nn.Key{5})}
	last := nn.NewAdapter(c, lora, nn.Key{6})
	apartFrom(many)(last)
	if n := norm(rows(last)[0]); n == 0 || math.IsNaN(n) {
		t.Errorf("norm %v", n)
	}
}

func TestRouter(t *testing.T) {
	r := newRouter([]Article{{Title: "Oxygen", Context: "A gas discovered by Scheele."}, {Title: "Tesla", Context: "An inventor from Smiljan."}, {Title: "Tesla", Context: "An inventor of gas lamps."}})
	for question, want := range map[string]int{
		TopicQuestion("Oxygen", "Who discovered it?"): 0, TopicQuestion("Tesla", "Was he from Smiljan?"): 1, "Which lamps?": 2, "Why?": -1, "An inventor": 1,
	} {
		if got := r.route(question); got != want {
			t.Errorf("%q: %d, want %d", question, got, want)
		}
	}
}

func TestContinueResumesWithEqualFiles(t *testing.T) {
	for _, train := range []string{"lora", "all"} {
		s := tinySettings()
		s.Outer.Rounds, s.Eval.Controls, s.Edits.SplitNewlines = 0, nil, false
		s.Continue.Train, s.Continue.Edits, s.Continue.Checkpoint, s.Continue.BatchSize = train, 2, 2, 2
		inputs := func(threads int) ContinueInputs {
			in := tinyInputs(t, threads)
			dir := filepath.Join(t.TempDir(), "m")
			if err := in.Model.Save(dir); err != nil {
				t.Fatal(err)
			}
			return ContinueInputs{Inputs: in, Open: func(from string) (*nn.Model, error) {
				if from == "" {
					from = dir
				}
				return nn.Load(in.Model.Device(), from, nn.LoadOptions{Compute: tensor.F32, Float32: true})
			}}
		}
		whole := t.TempDir()
		r, err := ExecuteContinue(t.Context(), whole, s, inputs(2), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, row := range r.Rows {
			names = append(names, row.Name)
		}
		if !slices.Equal(names, []string{RowNoPassage, RowPassageOnly, RowBase, "given_edits"}) {
			t.Errorf("rows %v", names)
		}
		// 3 passages; 3 epochs of 3 passages alone in steps of 2 are 6 steps.
		if o := r.Row(RowPassageOnly).Articles[0][0]; o.Steps != 6 || o.Loss <= 0 {
			t.Errorf("%s: %+v", train, o)
		}
		if c := r.Comparisons[RowBase]; len(c.Gains) != 6 {
			t.Errorf("%d gains", len(c.Gains))
		}
		want := canonical(t, whole)
		broken := t.TempDir()
		stops := interruptions(t, 2, 3, func(ctx context.Context, limit int, progress func(string, int, int)) error {
			_, err := ExecuteContinue(ctx, broken, s, inputs(1), Options{Progress: progress})
			return err
		})
		got := canonical(t, broken)
		for name, data := range want {
			if got[name] != data {
				t.Errorf("%s: %s differs after %d stops", train, name, stops)
			}
		}
		if stops < 2 || len(got) != len(want) {
			t.Errorf("%s: %d stops, %d files, want %d", train, stops, len(got), len(want))
		}
	}
}
