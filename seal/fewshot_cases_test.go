package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
)

func init() {
	maps.Copy(departures, map[string]string{
		"translate-differs-in-and-out":  "one roll for inputs and outputs of a task",
		"no-demonstrations":             "tasks without demonstrations are dropped",
		"double-bos":                    "one begin-of-text",
		"trailing-generation-prompt":    "a text ends at its end-of-turn",
		"padding-trained":               "there is no padding",
		"config-crashes-run":            "without the two sections: sampled again; fields of the wrong type: trains nothing",
		"unknown-fields-ignored":        "ignored, and recorded by name",
		"tool-flags-are-truthy":         "flags are booleans, else the edit trains nothing",
		"numbers-not-checked":           "rate and epochs are finite and above 0, else the edit trains nothing; NaN and infinity are no JSON",
		"step-count-rounds-down":        "floor(epochs·n/2), as the reference",
		"n-tasks-counts-subtasks":       "tasks are counted",
		"token-limit-counts-solution":   "the prompt's tokens are counted",
		"decode-ignores-brackets":       "read strictly",
		"decode-stricter-than-brackets": "read strictly",
		"empty-output-votes":            "blank answers are dropped",
		"vote-order-dependent":          "ties by votes, predictions, then first appearance; two different guesses where two exist",
		"second-guess-is-composite":     "a guess is a predicted grid",
		"missing-subtask":               "a missing test input fails the task",
		"unattempted-task-not-listed":   "counts as not solved",
	})
}

const arcDate = "26 Jul 2024"

func arcTokenizer(t *testing.T, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Load(filepath.Join(testdata.Dir(t), "tokenizers", name))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func arcDraw(item string) *philox.Stream {
	return philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: item})
}

type arcOp struct {
	Op         string
	Degrees    int `json:"degrees_counterclockwise"`
	Axis       int
	Mirrored   bool `json:"mirrored_first"`
	Rows, Cols int
	Steps      []arcOp
	ShiftDown  int `json:"shift_down"`
	ShiftRight int `json:"shift_right"`
}

func (o arcOp) transform() arc.Transform {
	switch o.Op {
	case "rotate":
		return arc.Rotate(o.Degrees)
	case "flip":
		return arc.Flip(o.Axis)
	case "reflect":
		return arc.Reflect{Axis: o.Axis, MirroredFirst: o.Mirrored}
	case "transpose":
		return arc.Transpose{}
	case "upscale":
		return arc.Upscale{Rows: o.Rows, Cols: o.Cols}
	case "repeat":
		return arc.Repeat{Rows: o.Rows, Cols: o.Cols}
	case "translate":
		return arc.Translate{Down: o.ShiftDown, Right: o.ShiftRight}
	case "chain":
		var c arc.Chain
		for _, s := range o.Steps {
			c = append(c, s.transform())
		}
		return c
	}
	panic("unknown operation " + o.Op)
}

// byReferenceName reads the transforms that answers are freed by.
func byReferenceName(name *string) arc.Transform {
	if name == nil {
		return nil
	}
	var n int
	switch {
	case *name == "Transpose()":
		return arc.Transpose{}
	case scan(*name, "Flip(%d)", &n):
		return arc.Flip(n)
	case scan(*name, "Rotate(%d)", &n):
		return arc.Rotate(n)
	}
	panic("unknown transform " + *name)
}

func scan(s, format string, n *int) bool {
	_, err := fmt.Sscanf(s, format, n)
	return err == nil
}

func TestDataArcAugment(t *testing.T) {
	type item struct {
		Category string
		Name     string `json:"reference_name"`
		Op       arcOp
		Inverse  arcOp `json:"inverse_op"`
		Input    arc.Grid
		Expected arc.Grid
		Undone   arc.Grid `json:"expected_undone"`
	}
	offered := map[string]bool{}
	for _, tr := range (arc.Tools{Basic: true, Size: true, Chain: true, Repeat: true}).Transforms(arc.Translate{}) {
		offered[tr.String()] = true
	}
	eachCase(t, "arc_augment", func(c item) check {
		tr := c.Op.transform()
		before := c.Input.String()
		d := diff(c.Expected, tr.Apply(c.Input))
		if c.Category == "inverse" {
			inverse := arc.Inverse(tr)
			d += diff(c.Undone, inverse.Apply(c.Expected)) + diff(c.Inverse.transform().String(), inverse.String())
		} else if c.Op.Op != "translate" && !offered[tr.String()] {
			d += tr.String() + " is no tool"
		}
		return check{exact: d + diff(before, c.Input.String())}
	})
	if len(offered) != 23 {
		t.Errorf("%d tools are offered, want 23", len(offered))
	}
}

func TestDataArcColourPermute(t *testing.T) {
	type item struct {
		ID       string
		Task     arc.Task
		Map      map[string]int8 `json:"color_map"`
		Used     []int8          `json:"colors_used"`
		Unused   []int8          `json:"colors_unused"`
		Expected arc.Task
	}
	eachCase(t, "arc_color_permute", func(c item) check {
		r := arc.Recolouring{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		for from, to := range c.Map {
			k, _ := strconv.Atoi(from)
			r[k] = to
		}
		d := diff(c.Expected, c.Task.Under(r))
		// Our own draws obey the rules seen in the reference's.
		for i := range 50 {
			r := arc.DrawRecolouring(c.Task, arcDraw(c.ID+fmt.Sprint(i)))
			hit := map[int8]bool{}
			fresh, moved := 0, 0
			for _, u := range c.Used {
				if hit[r[u]] {
					d += fmt.Sprintf("draw %d maps two colours to %d\n", i, r[u])
				}
				hit[r[u]] = true
				if slices.Contains(c.Unused, r[u]) {
					fresh++
				}
				if r[u] != u {
					moved++
				}
			}
			coloured := len(c.Used)
			if c.Used[0] == 0 {
				coloured--
			}
			if r[0] != 0 || fresh != min(coloured, len(c.Unused)) || moved < coloured-1 {
				d += fmt.Sprintf("draw %d: %v: background %d, %d unused colours taken of %d, %d moved of %d\n", i, r, r[0], fresh, len(c.Unused), moved, coloured)
			}
		}
		return check{exact: d}
	})
}

// digest is the reference cases' name of a task.
func digest(t arc.Task) string {
	if t.Train == nil {
		t.Train = []arc.Pair{}
	}
	data, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:16]
}

func digests(tasks []arc.Task) []string {
	var list []string
	for _, t := range tasks {
		list = append(list, digest(t))
	}
	slices.Sort(list)
	return list
}

type toolFlags struct {
	Basic  bool `json:"use_basic"`
	Size   bool `json:"use_size"`
	Chain  bool `json:"use_chain"`
	Repeat bool `json:"use_repeat"`
}

func TestDataArcTrainSet(t *testing.T) {
	type item struct {
		ID     string
		Train  []arc.Pair
		LeaveN int `json:"leave_n"`
		toolFlags
		Shifts   []struct{ Input, Output [2]int } `json:"translate_shifts"`
		Quirks   []string
		Expected struct {
			N                int `json:"n_unique"`
			Digests          []string
			WithoutTranslate []string `json:"digests_without_translate"`
			Permuted         int      `json:"n_with_permuted_copies_in_one_reference_run"`
		}
	}
	eachCase(t, "arc_train_set", func(c item) check {
		opt := arc.TrainOptions{Tools: arc.Tools(c.toolFlags), LeaveOut: []int{c.LeaveN}, Plain: true}
		if len(c.Shifts) > 0 {
			opt.Shift = &arc.Translate{Down: c.Shifts[0].Input[0], Right: c.Shifts[0].Input[1]}
		}
		got := check{exact: diff(c.Expected.Digests, digests(arc.TrainingSet(c.Train, opt, arcDraw(c.ID))))}
		if got.exact == "" {
			opt.Plain = false
			n := len(arc.TrainingSet(c.Train, opt, arcDraw(c.ID)))
			if n < c.Expected.N || n > 2*c.Expected.N {
				got.exact = fmt.Sprintf("%d tasks with permuted copies of %d", n, c.Expected.N)
			}
			return got
		}
		// Decided: the same set but for the roll, and without tasks that have no
		// demonstrations.
		opt.Plain, opt.WithoutDemonstrations = true, true
		want := c.Expected.Digests
		if slices.Contains(c.Quirks, "translate-differs-in-and-out") {
			opt.Shift, want = &arc.Translate{}, c.Expected.WithoutTranslate
		}
		all := arc.TrainingSet(c.Train, opt, arcDraw(c.ID))
		got.decided = diff(want, digests(all))
		opt.WithoutDemonstrations = false
		some := slices.DeleteFunc(all, func(t arc.Task) bool { return len(t.Train) == 0 })
		got.decided += diff(digests(some), digests(arc.TrainingSet(c.Train, opt, arcDraw(c.ID))))
		return got
	})
}

func TestDataArcProcessTask(t *testing.T) {
	tok := arcTokenizer(t, "llama3.2")
	ends := stopTokensOf(tok)
	type item struct {
		ID, Category string
		Train        []arc.Pair
		LeaveN       []int `json:"leave_n"`
		toolFlags
		Limit    int
		Expected struct {
			Before, After map[string]int
			BeforeBySeed  map[string]int `json:"n_before_cut_by_seed"`
			AfterBySeed   map[string]int `json:"n_after_cut_by_seed"`
			Tokens        []int          `json:"total_tokens"`
			Kept          map[string]int `json:"n_kept_by_limit"`
		}
	}
	prompts := arc.DefaultPrompts()
	prompts.Solve = referenceSolve
	eachCase(t, "arc_process_task", func(c item) check {
		opt := arc.TrainOptions{Tools: arc.Tools(c.toolFlags), LeaveOut: c.LeaveN}
		if c.Category == "token-limit" {
			opt.Plain, opt.Shift = true, &arc.Translate{}
			var counts, same []int
			for _, task := range arc.TrainingSet(c.Train, opt, arcDraw(c.ID)) {
				tokens, err := prompts.TrainTokens(tok, task, false, arcDate, ends)
				if err != nil {
					return check{exact: err.Error(), decided: err.Error()}
				}
				// One begin-of-text and the four tokens of an empty header less.
				counts, same = append(counts, len(tokens.IDs)+5), append(same, len(tokens.IDs))
			}
			slices.Sort(counts)
			got := check{exact: diff(c.Expected.Tokens, same), decided: diff(c.Expected.Tokens, counts)}
			for limit, want := range c.Expected.Kept {
				n, _ := strconv.Atoi(limit)
				kept := 0
				for _, k := range counts {
					if k < n {
						kept++
					}
				}
				got.decided += diff(want, kept)
			}
			return got
		}
		// The reference keeps tasks without demonstrations; see no-demonstrations.
		opt.WithoutDemonstrations = true
		low, high := math.MaxInt, 0
		for _, n := range c.Expected.BeforeBySeed {
			low, high = min(low, n), max(high, n)
		}
		d := ""
		for seed := range 4 {
			opt.Limit = 0
			before := len(arc.TrainingSet(c.Train, opt, arcDraw(c.ID+fmt.Sprint(seed))))
			opt.Limit = c.Limit
			after := len(arc.TrainingSet(c.Train, opt, arcDraw(c.ID+fmt.Sprint(seed))))
			// Where the reference's counts vary, coinciding draws make them.
			slack := 3 * (high - low)
			if before < low-slack || before > high+slack || after != min(before, c.Limit) {
				d += fmt.Sprintf("seed %d: %d, cut to %d; the reference has %v and %v\n", seed, before, after, c.Expected.BeforeBySeed, c.Expected.AfterBySeed)
			}
		}
		return check{exact: d}
	})
}

// referenceSolve is the reference's instruction, as the cases give it.
const referenceSolve = "Figure out the underlying transformation in the following examples and apply it to the test case. Here are some examples from this transformation, your answer must follow the format.\nThe input-output grids are provided as python arrays:\n"

func stopTokensOf(tok *tokenizer.Tokenizer) []int32 {
	_, id, _ := tok.EOS()
	return []int32{id}
}

func TestDataArcMessages(t *testing.T) {
	tok := arcTokenizer(t, "llama3.2")
	type item struct {
		Task     arc.Task
		Prefix   string `json:"system_prefix"`
		Date     string `json:"date_string"`
		Expected struct {
			System, User, Assistant string
			TrainText               string `json:"train_text"`
			InferText               string `json:"infer_text"`
			TrainHash               string `json:"train_text_sha256"`
			InferHash               string `json:"infer_text_sha256"`
			TrainTokens             int    `json:"train_total_tokens"`
		}
	}
	hash := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	eachCase(t, "arc_messages", func(c item) check {
		p := arc.Prompts{Solve: c.Prefix}
		m := p.SolveMessages(c.Task, true)
		d := diff([]string{c.Expected.System, c.Expected.User, c.Expected.Assistant}, []string{m[0].Content, m[1].Content, m[2].Content})
		// The reference has an empty header after the answer, also in training.
		opt := tokenizer.ChatOptions{AddGenerationPrompt: true, DateString: c.Date}
		train, err := tok.ApplyChat(m, opt)
		infer, err2 := tok.ApplyChat(p.SolveMessages(c.Task, false), opt)
		ids, err3 := tok.EncodeChat(m, opt)
		if err != nil || err2 != nil || err3 != nil {
			return check{exact: fmt.Sprint(err, err2, err3)}
		}
		d += diff(c.Expected.TrainHash, hash(train)) + diff(c.Expected.InferHash, hash(infer))
		if c.Expected.TrainText != "" {
			d += diff(c.Expected.TrainText, train) + diff(c.Expected.InferText, infer)
		}
		return check{exact: d + diff(c.Expected.TrainTokens, len(ids)+1)}
	})
}

func TestDataArcTokens(t *testing.T) {
	type item struct {
		Strategy, Tokenizer string
		Date                string `json:"date_string"`
		Tasks               []arc.Task
		Expected            []struct {
			IDs    []int32 `json:"input_ids"`
			Labels []int32
			Masked int `json:"n_masked"`
		}
	}
	prompts := arc.Prompts{Solve: referenceSolve}
	eachCase(t, "arc_tokens", func(c item) check {
		tok := arcTokenizer(t, c.Tokenizer)
		var got check
		for i, task := range c.Tasks {
			tokens, err := prompts.TrainTokens(tok, task, c.Strategy == arc.OutputTokens, c.Date, stopTokensOf(tok))
			if err != nil {
				return check{exact: err.Error(), decided: err.Error()}
			}
			want := c.Expected[i]
			got.exact += diff(want.IDs, tokens.IDs)
			// One begin-of-text less before, four tokens of an empty header less after.
			masked := want.Masked - 1
			if c.Strategy == arc.AllTokens {
				masked = 0
			}
			got.decided += diff(want.IDs[1:len(want.IDs)-4], tokens.IDs) + diff(masked, tokens.Masked)
		}
		return got
	})
}

func TestDataArcSelfEditPrompt(t *testing.T) {
	type item struct {
		Train       []arc.Pair
		System      string `json:"system_message"`
		Instruction string
		Expected    string
	}
	eachCase(t, "arc_self_edit_prompt", func(c item) check {
		text := "<|begin_of_text|>"
		for _, m := range (arc.Prompts{EditSystem: c.System, Edit: c.Instruction}).EditMessages(c.Train) {
			text += "<|start_header_id|>" + m.Role + "<|end_header_id|>\n\n" + m.Content + "<|eot_id|>"
		}
		return check{exact: diff(c.Expected, text+"<|start_header_id|>assistant<|end_header_id|>\n\n")}
	})
}

func TestDataArcConfig(t *testing.T) {
	type item struct {
		Category, Text string
		Quirks         []string
		N              int `json:"n_training_examples"`
		Expected       struct {
			Sampling string
			Groups   []string `json:"augmenter_groups"`
			N        int      `json:"n_augmenters"`
			Training *struct {
				LR     any  `json:"learning_rate"`
				Epochs any  `json:"num_train_epochs"`
				All    bool `json:"loss_on_all_tokens"`
			}
			Nothing bool `json:"trains_nothing"`
		}
	}
	eachCase(t, "arc_config", func(c item) check {
		e, err := arc.ParseEdit(c.Text)
		if c.Expected.Sampling != "accepted" {
			if err == nil {
				return check{exact: "accepted", decided: decideUnless(e.Nothing != "", "trains: "+c.Text)}
			}
			return check{exact: decideUnless(c.Expected.Sampling != "crash", err.Error())}
		}
		if err != nil {
			isJSON := json.Valid([]byte(c.Text))
			return check{exact: err.Error(), decided: decideUnless(!isJSON, err.Error())}
		}
		e = e.Limited(c.N, 2, 375)
		groups := []string{}
		for _, g := range []struct {
			on   bool
			name string
		}{{e.Tools.Basic, "basic"}, {e.Tools.Size, "size"}, {e.Tools.Chain, "chain"}, {e.Tools.Repeat, "repeat"}} {
			if g.on {
				groups = append(groups, g.name)
			}
		}
		d := diff(c.Expected.Groups, groups) + diff(c.Expected.N, len(e.Tools.Transforms(arc.Translate{}))) + diff(c.Expected.Nothing, e.Epochs == 0)
		if w := c.Expected.Training; w != nil {
			d += diff([]any{w.LR, w.Epochs, w.All}, []any{e.LR, e.Epochs, !e.OutputOnly()})
		} else if e.Epochs != 0 {
			d += "trains"
		}
		if slices.Contains(c.Quirks, "unknown-fields-ignored") && len(e.Unknown) == 0 {
			d += "unknown fields are not recorded"
		}
		return check{exact: d, decided: decideUnless(e.Nothing != "" && e.Epochs == 0 || d == "", d)}
	})
}

func decideUnless(ok bool, otherwise string) string {
	if ok {
		return ""
	}
	return otherwise
}

func TestDataArcSampling(t *testing.T) {
	type item struct {
		Texts    []string
		Wanted   int  `json:"edits_wanted"`
		Skip     bool `json:"skip_repeated_configs"`
		Quirks   []string
		Expected struct {
			Consumed int `json:"texts_consumed"`
			Finished bool
			Edits    map[string]struct {
				Response string
			}
		}
	}
	eachCase(t, "arc_sampling", func(c item) check {
		var kept []arc.Edit
		var texts []string
		consumed := 0
		for consumed < len(c.Texts) && len(kept) < c.Wanted {
			text := c.Texts[consumed]
			consumed++
			e, err := arc.ParseEdit(text)
			if err != nil || c.Skip && slices.ContainsFunc(kept, e.Same) {
				continue
			}
			kept, texts = append(kept, e), append(texts, text)
		}
		want := make([]string, len(c.Expected.Edits))
		for i, e := range c.Expected.Edits {
			at, _ := strconv.Atoi(i)
			want[at] = e.Response
		}
		got := check{exact: diff(c.Expected.Consumed, consumed) + diff(c.Expected.Finished, len(kept) == c.Wanted)}
		if c.Expected.Finished {
			got.exact += diff(want, texts)
		}
		got.decided = decideUnless(slices.Contains(c.Quirks, "config-crashes-run") || got.exact == "", got.exact)
		return got
	})
}
