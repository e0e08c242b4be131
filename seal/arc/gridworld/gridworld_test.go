package gridworld

import (
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/seal/arc"
)

// The tasks of the loop follow rules that no document of pretraining has, and
// no rule is in two splits.
func TestSplitsShareNoFamily(t *testing.T) {
	owner := map[string]Split{}
	for split := range splitCount {
		families := Families(split, 1)
		if len(families) < 5 {
			t.Errorf("%v has only %d rules", split, len(families))
		}
		for _, f := range families {
			if other, taken := owner[f.String()]; taken {
				t.Errorf("%v belongs to %v and %v", f, other, split)
			}
			owner[f.String()] = split
			if rules[f[0]].unseen != (split != Pretraining) {
				t.Errorf("%v is in %v", f, split)
			}
		}
		t.Logf("%v: %v", split, families)
	}
	for _, f := range Families(Pretraining, 2) {
		if rules[f[0]].unseen || rules[f[1]].unseen {
			t.Errorf("pretraining has %v", f)
		}
	}
}

// No rule of the loop is a function that pretraining shows under another name.
func TestFamiliesDiffer(t *testing.T) {
	g := arc.Grid{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}
	seen := map[string]string{g.String(): "copies"}
	check := func(f Family) {
		if f.has(recolouring) || f.has(painting) {
			return
		}
		out := g
		for _, r := range f {
			out = rules[r].draw(nil).apply(out)
		}
		if other, taken := seen[out.String()]; taken {
			t.Errorf("%v and %s are one function", f, other)
		}
		seen[out.String()] = f.String()
	}
	for split := range splitCount {
		for _, f := range Families(split, 1) {
			check(f)
		}
	}
	for _, f := range Families(Pretraining, 2) {
		check(f)
	}
}

func TestTasks(t *testing.T) {
	for split := range splitCount {
		ids := map[string]bool{}
		tasks := Tasks(1, split, 0, 60)
		for i, c := range tasks {
			if ids[c.ID] {
				t.Errorf("%s comes twice", c.ID)
			}
			ids[c.ID] = true
			task := c.Task(0)
			if len(task.Train) != Demonstrations || len(c.Tests) != 1 {
				t.Errorf("%s has %d demonstrations and %d tests", c.ID, len(task.Train), len(c.Tests))
			}
			inputs := map[string]bool{}
			for _, p := range append(task.Train, task.Test) {
				if err := p.Input.Check(); err != nil {
					t.Errorf("%s: %v", c.ID, err)
				}
				if err := p.Output.Check(); err != nil {
					t.Errorf("%s: %v", c.ID, err)
				}
				if p.Input.Equal(p.Output) || inputs[p.Input.String()] {
					t.Errorf("%s: a pair that says nothing", c.ID)
				}
				inputs[p.Input.String()] = true
			}
			if again := Tasks(1, split, i, 1)[0]; again.ID != c.ID || !again.Tests[0].Input.Equal(c.Tests[0].Input) {
				t.Errorf("%s depends on where the list begins", c.ID)
			}
		}
	}
}

// The spans that bear loss are the outputs after the first, and the answer.
func TestTrainedSpans(t *testing.T) {
	for g := range GroupCount {
		d := NewDocument(1, g, 5, 3)
		text := ""
		for _, m := range d.Messages {
			text += "<|" + m.Role + "|>" + strings.TrimSpace(m.Content) + EndOfTurn
		}
		var got []string
		for _, s := range d.Trained(text) {
			got = append(got, text[s.Start:s.End])
		}
		answer := d.Messages[2].Content + EndOfTurn
		if got[len(got)-1] != answer {
			t.Errorf("%v: the last span is %q, want %q", g, got[len(got)-1], answer)
		}
		if g == Edits {
			if e, err := arc.ParseEdit(d.Messages[2].Content); err != nil || e.Nothing != "" || len(got) != 1 {
				t.Errorf("%v: %v, %+v, %d spans", g, err, e, len(got))
			}
			continue
		}
		if len(got) < 2 {
			t.Errorf("%v: %d spans", g, len(got))
		}
		for _, s := range got[:len(got)-1] {
			if grid, ok := arc.ParseGrid(s); !ok || len(grid) == 0 {
				t.Errorf("%v: span %q is no output", g, s)
			}
		}
	}
}

// The choices of self-edits are drawn evenly.
func TestDrawEdit(t *testing.T) {
	rates := map[float64]int{}
	for i := range 600 {
		rates[DrawEdit(philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Edit: i})).LR]++
	}
	for _, r := range Rates {
		if rates[r] < 60 || rates[r] > 140 {
			t.Errorf("rate %v was drawn %d times of 600", r, rates[r])
		}
	}
}
