package arc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Challenge is a task as ARC's files hold it: demonstrations and one or more
// test inputs, whose outputs are nil without solutions.
type Challenge struct {
	ID    string `json:"id"`
	Train []Pair `json:"train"`
	Tests []Pair `json:"tests"`
}

// Task returns the task of a test input.
func (c Challenge) Task(test int) Task { return Task{c.Train, c.Tests[test]} }

// Subtask names a test input, as in "0a1b2c3d-1".
func Subtask(id string, test int) string { return id + "-" + strconv.Itoa(test) }

// ReadChallenges reads a file of challenges {id: {train, test}}, in its order.
// Errors name file, task and field.
func ReadChallenges(path string) ([]Challenge, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := ParseChallenges(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// ReadSolutions reads files of solutions {id: [grid, …]} as one. A task that
// has other solutions in another file is an error.
func ReadSolutions(paths ...string) (map[string][]Grid, error) {
	all := map[string][]Grid{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		one, err := ParseSolutions(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for id, grids := range one {
			if other, taken := all[id]; taken && !slices.EqualFunc(other, grids, Grid.Equal) {
				return nil, fmt.Errorf("%s: task %s has other solutions in another file", path, id)
			}
			all[id] = grids
		}
	}
	return all, nil
}

// ParseChallenges reads the text of a file of challenges.
func ParseChallenges(data []byte) ([]Challenge, error) {
	var list []Challenge
	err := eachEntry(data, func(id string, raw json.RawMessage) error {
		var entry struct {
			Train, Test []struct{ Input, Output [][]json.Number }
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			return describe(err)
		}
		c := Challenge{ID: id}
		for _, part := range []struct {
			name  string
			pairs []struct{ Input, Output [][]json.Number }
			to    *[]Pair
			whole bool
		}{{"train", entry.Train, &c.Train, true}, {"test", entry.Test, &c.Tests, false}} {
			if len(part.pairs) == 0 {
				return fmt.Errorf("field %s is missing or empty: expected at least one pair of grids", part.name)
			}
			for i, p := range part.pairs {
				var pair Pair
				var err error
				if pair.Input, err = grid(p.Input); err != nil {
					return fmt.Errorf("%s[%d].input: %w", part.name, i, err)
				}
				if part.whole || p.Output != nil {
					if pair.Output, err = grid(p.Output); err != nil {
						return fmt.Errorf("%s[%d].output: %w", part.name, i, err)
					}
				}
				*part.to = append(*part.to, pair)
			}
		}
		list = append(list, c)
		return nil
	})
	if err == nil && len(list) == 0 {
		err = errors.New("holds no tasks")
	}
	return list, err
}

// ParseSolutions reads the text of a file of solutions.
func ParseSolutions(data []byte) (map[string][]Grid, error) {
	solutions := map[string][]Grid{}
	err := eachEntry(data, func(id string, raw json.RawMessage) error {
		var grids [][][]json.Number
		if err := json.Unmarshal(raw, &grids); err != nil {
			return describe(err)
		}
		for i, g := range grids {
			parsed, err := grid(g)
			if err != nil {
				return fmt.Errorf("solution %d: %w", i, err)
			}
			solutions[id] = append(solutions[id], parsed)
		}
		return nil
	})
	return solutions, err
}

// AddSolutions sets the test outputs that are not known yet. Solutions of other
// tasks are no matter.
func AddSolutions(list []Challenge, solutions map[string][]Grid) error {
	for _, c := range list {
		known := !slices.ContainsFunc(c.Tests, func(p Pair) bool { return p.Output == nil })
		s, ok := solutions[c.ID]
		switch {
		case !ok && known:
			continue
		case !ok:
			return fmt.Errorf("no solutions for task %s: give the file that belongs to the challenges", c.ID)
		case len(s) != len(c.Tests):
			return fmt.Errorf("task %s: %d solutions for %d test inputs", c.ID, len(s), len(c.Tests))
		}
		for i := range s {
			c.Tests[i].Output = s[i]
		}
	}
	return nil
}

// eachEntry calls f for every field of one JSON object, in order.
func eachEntry(data []byte, f func(name string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	where := func(err error) error {
		line := 1 + bytes.Count(data[:min(int(dec.InputOffset()), len(data))], []byte("\n"))
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the text ends early")
		}
		return fmt.Errorf("malformed JSON at line %d: %w; expected one object of tasks by their names", line, err)
	}
	if first, err := dec.Token(); err != nil {
		return where(err)
	} else if first != json.Delim('{') {
		return errors.New("expected one JSON object of tasks by their names")
	}
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return where(err)
		}
		id := name.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return where(err)
		}
		if seen[id] {
			return fmt.Errorf("task %s stands twice", id)
		}
		seen[id] = true
		if err := f(id, value); err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return where(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something stands after the object of tasks")
	}
	return nil
}

func describe(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("field %s: got %s, expected grids of whole numbers", strings.ToLower(wrong.Field), wrong.Value)
	}
	return err
}

func grid(rows [][]json.Number) (Grid, error) {
	g := make(Grid, len(rows))
	for i, row := range rows {
		g[i] = make([]int8, len(row))
		for j, n := range row {
			c, err := strconv.ParseInt(n.String(), 10, 8)
			if err != nil {
				return nil, fmt.Errorf("row %d, column %d: got colour %s, expected 0 to 9", i, j, n)
			}
			g[i][j] = int8(c)
		}
	}
	return g, g.Check()
}
