package arc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Strategies of training.
const (
	AllTokens    = "train_using_all_tokens"
	OutputTokens = "train_using_output_tokens"
)

// Edit is a self-edit: how a model is to be adapted to a task.
type Edit struct {
	Tools    Tools   `json:"tools"`
	Strategy string  `json:"strategy"`
	LR       float64 `json:"learning_rate"`
	Epochs   float64 `json:"num_train_epochs"` // 0: train nothing
	// Nothing says why the edit trains nothing; empty: it trains.
	Nothing string `json:"trains_nothing,omitempty"`
	// Unknown names fields that no rule reads.
	Unknown []string `json:"unknown_fields,omitempty"`
}

// ParseEdit reads a self-edit from a model's text: one JSON object with the
// objects data_generation and training. Text that is none is an error: sample
// again. A field that is missing or of the wrong kind, a strategy that does not
// exist, a rate or number of epochs that is not finite and above 0 make an edit
// that trains nothing. Unknown fields are noted and ignored; of a field given
// twice the last counts.
func ParseEdit(text string) (Edit, error) {
	root, err := object([]byte(text))
	if err != nil {
		return Edit{}, fmt.Errorf("the self-edit is not a JSON object: %w", err)
	}
	var sections [2]map[string]json.RawMessage
	for i, name := range []string{"data_generation", "training"} {
		if sections[i], err = object(root[name]); err != nil {
			return Edit{}, fmt.Errorf("the self-edit has no object %q", name)
		}
		delete(root, name)
	}
	var e Edit
	e.unknown("", root)
	tools, training := sections[0], sections[1]
	complete := true
	for _, f := range []struct {
		name string
		to   *bool
	}{
		{"use_basic_augmentations", &e.Tools.Basic}, {"use_size_augmentations", &e.Tools.Size},
		{"use_chain_augmentations", &e.Tools.Chain}, {"use_repeat_augmentations", &e.Tools.Repeat},
	} {
		switch string(bytes.TrimSpace(tools[f.name])) {
		case "true":
			*f.to = true
		case "false":
		default:
			complete = false
			e.nothing("data_generation.%s: got %s, expected true or false", f.name, show(tools[f.name]))
		}
		delete(tools, f.name)
	}
	if !complete {
		e.Tools = Tools{}
	}
	e.unknown("data_generation.", tools)

	complete = true
	for _, name := range []string{"strategy", "learning_rate", "num_train_epochs"} {
		if training[name] == nil {
			complete = false
			e.nothing("training.%s is missing", name)
		}
	}
	if !complete {
		e.Strategy = AllTokens
	} else {
		var strategy string
		if json.Unmarshal(training["strategy"], &strategy) != nil || strategy != AllTokens && strategy != OutputTokens {
			e.nothing("training.strategy: got %s, expected %q or %q", show(training["strategy"]), AllTokens, OutputTokens)
		}
		e.Strategy = strategy
		e.LR = e.positive("learning_rate", training["learning_rate"])
		e.Epochs = e.positive("num_train_epochs", training["num_train_epochs"])
	}
	for _, name := range []string{"strategy", "learning_rate", "num_train_epochs"} {
		delete(training, name)
	}
	e.unknown("training.", training)
	if e.Nothing != "" {
		e.Epochs = 0
	}
	return e, nil
}

// object reads text that holds one JSON object and nothing else.
func object(text []byte) (map[string]json.RawMessage, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return nil, errors.New("expected an object")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	var m map[string]json.RawMessage
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something stands after it")
	}
	return m, nil
}

func (e *Edit) nothing(format string, args ...any) {
	if e.Nothing == "" {
		e.Nothing = fmt.Sprintf(format, args...)
	}
}

func (e *Edit) unknown(prefix string, m map[string]json.RawMessage) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		e.Unknown = append(e.Unknown, strings.ToValidUTF8(prefix+name, "?"))
	}
}

// positive reads a finite number above 0.
func (e *Edit) positive(name string, raw json.RawMessage) float64 {
	text := string(bytes.TrimSpace(raw))
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !(x > 0) || math.IsInf(x, 0) {
		e.nothing("training.%s: got %s, expected a finite number above 0", name, show(raw))
		return 0
	}
	return x
}

func show(raw json.RawMessage) string {
	switch text := strings.ToValidUTF8(string(raw), "?"); {
	case text == "":
		return "nothing"
	case len(text) > 40:
		return strings.ToValidUTF8(text[:40], "") + " …"
	default:
		return text
	}
}

// Same tells whether two edits ask for the same training.
func (e Edit) Same(o Edit) bool {
	return e.Tools == o.Tools && e.Strategy == o.Strategy && e.LR == o.LR && e.Epochs == o.Epochs && (e.Nothing == "") == (o.Nothing == "")
}

// OutputOnly tells whether only the answers of examples bear loss.
func (e Edit) OutputOnly() bool { return e.Strategy != AllTokens }

// Limited returns the edit as it applies to a training set of n examples with
// a batch of so many: more steps than the limit, counted as
// floor(epochs·n/batch), train nothing, as do no examples. A limit of 0 is a
// million.
func (e Edit) Limited(n, batch, steps int) Edit {
	if e.Nothing != "" {
		return e
	}
	if steps == 0 {
		steps = 1_000_000
	}
	switch count := math.Floor(e.Epochs * float64(n) / float64(batch)); {
	case n == 0:
		e.nothing("the training set is empty")
	case count > float64(steps):
		e.nothing("%.4g steps, at most %d are allowed", count, steps)
	default:
		return e
	}
	e.Epochs = 0
	return e
}

// JSON writes the edit in the form that ParseEdit reads, on one line.
func (e Edit) JSON() string {
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	return fmt.Sprintf(`{"data_generation": {"use_basic_augmentations": %t, "use_size_augmentations": %t, "use_chain_augmentations": %t, "use_repeat_augmentations": %t}, `+
		`"training": {"strategy": %q, "learning_rate": %s, "num_train_epochs": %s}}`,
		e.Tools.Basic, e.Tools.Size, e.Tools.Chain, e.Tools.Repeat, e.Strategy, number(e.LR), number(e.Epochs))
}
