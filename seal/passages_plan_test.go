package seal

import (
	"path/filepath"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

// asked counts the questions of outcomes.
func asked(outcomes []Outcome) (n int) {
	for _, o := range outcomes {
		n += len(o.Right)
	}
	return n
}

// The counts that plans call exact are those of the runs.
func TestPlansOfPassages(t *testing.T) {
	s := continualSettings(KeepReplay)
	in := continualInputs(t, 1)
	plan, err := NewContinualPlan(s, in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ExecuteContinual(t.Context(), t.TempDir(), s, in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	updates, answers := 0, 0
	for i, steps := range r.Steps {
		for _, a := range r.Sequences[i] {
			answers += len(a.Questions) // of the untouched model
		}
		for _, step := range steps {
			updates++
			answers += asked(step.Seen)
		}
	}
	if plan.SelfEdits != updates || plan.Adapters != updates || plan.Answers != answers {
		t.Errorf("planned %d self-edits, %d updates and %d answers; there were %d, %d and %d", plan.SelfEdits, plan.Adapters, plan.Answers, updates, updates, answers)
	}
	plain, err := NewContinualPlan(continualSettings(), in)
	if err != nil || plain.TrainTokens >= plan.TrainTokens || plain.Answers != plan.Answers {
		t.Errorf("%v; with replay %d tokens are planned, without %d", err, plan.TrainTokens, plain.TrainTokens)
	}
	if both := plan.Plus(plain); both.Answers != 2*answers || both.TrainTokens != plan.TrainTokens+plain.TrainTokens || both.Bytes() != plan.Bytes() {
		t.Errorf("together %+v", both)
	}

	for _, train := range []string{"lora", "all"} {
		s, in := tinySettings(), tinyInputs(t, 1)
		s.Outer.Rounds, s.Eval.Controls, s.Edits.SplitNewlines = 0, nil, false
		s.Continue.Train, s.Continue.Edits, s.Continue.BatchSize = train, 2, 2
		plan, err := NewContinuePlan(s, in)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "m")
		if err := in.Model.Save(dir); err != nil {
			t.Fatal(err)
		}
		r, err := ExecuteContinue(t.Context(), t.TempDir(), s, ContinueInputs{Inputs: in, Open: func(from string) (*nn.Model, error) {
			if from == "" {
				from = dir
			}
			return nn.Load(in.Model.Device(), from, nn.LoadOptions{Compute: tensor.F32, Float32: true})
		}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		updates, answers, steps, edits := 0, 0, 0, 0
		for _, row := range r.Rows {
			for _, outcomes := range row.Articles {
				answers += asked(outcomes)
			}
			if n := row.Articles[0][0].Steps; n > 0 {
				updates, steps = updates+1, steps+n
			}
			if row.Name == RowBase {
				for _, e := range row.Edits {
					edits += len(e)
				}
			}
		}
		// The edits given are one a passage, the model's own may be blank: steps are at most the plan's.
		if plan.SelfEdits != edits || plan.Adapters != updates || plan.Answers != answers || steps > plan.Steps || steps == 0 {
			t.Errorf("%s: planned %d self-edits, %d updates of %d steps and %d answers; there were %d, %d of %d and %d",
				train, plan.SelfEdits, plan.Adapters, plan.Steps, plan.Answers, edits, updates, steps, answers)
		}
		if plan.AdapterBytes <= 0 || plan.ActivationBytes <= 0 || plan.CacheBytes <= 0 || plan.WeightBytes <= 0 {
			t.Errorf("%s: memory %+v", train, plan)
		}
	}
}
