package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Command has a user's program judge. The system's shell runs Line once per
// call of Grade; the program reads {"id", "question", "gold", "answer"}, a JSON
// object a line, and writes {"id", "correct"} for each, in any order.
type Command struct{ Line string }

// Grade runs the command. An exit code other than 0, a line that is no verdict
// and a missing verdict are errors.
func (c Command) Grade(ctx context.Context, answers []Answer) ([]bool, error) {
	var in, out, said bytes.Buffer
	enc := json.NewEncoder(&in)
	enc.SetEscapeHTML(false)
	for i, a := range answers {
		if err := enc.Encode(struct {
			ID       int    `json:"id"`
			Question string `json:"question"`
			Gold     string `json:"gold"`
			Answer   string `json:"answer"`
		}{i, a.Question, a.Gold, a.Answer}); err != nil {
			return nil, err
		}
	}
	shell := []string{"sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C"}
	}
	cmd := exec.CommandContext(ctx, shell[0], append(shell[1:], c.Line)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &said
	cmd.WaitDelay = 5 * time.Second // for children that keep the output open
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the judging command %q: %w%s", c.Line, err, tail(said.String()))
	}
	verdicts, err := readVerdicts(out.Bytes(), len(answers))
	if err != nil {
		return nil, fmt.Errorf("the judging command %q: %w%s", c.Line, err, tail(said.String()))
	}
	return verdicts, nil
}

func readVerdicts(out []byte, n int) ([]bool, error) {
	verdicts, seen := make([]bool, n), make([]bool, n)
	found := 0
	for i, line := range bytes.Split(out, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var v struct {
			ID      *int
			Correct *bool
		}
		if err := json.Unmarshal(line, &v); err != nil || v.ID == nil || v.Correct == nil {
			return nil, fmt.Errorf("line %d of its output: expected {\"id\": …, \"correct\": true or false}, got %.80q", i+1, line)
		}
		if *v.ID < 0 || *v.ID >= n {
			return nil, fmt.Errorf("line %d of its output: id %d: expected 0 to %d", i+1, *v.ID, n-1)
		}
		if seen[*v.ID] {
			return nil, fmt.Errorf("line %d of its output: a second verdict on id %d", i+1, *v.ID)
		}
		verdicts[*v.ID], seen[*v.ID] = *v.Correct, true
		found++
	}
	if found < n {
		return nil, fmt.Errorf("it gave %d verdicts on %d answers", found, n)
	}
	return verdicts, nil
}

// tail is the last line that a program wrote to its standard error.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	last := lines[len(lines)-1]
	if last == "" {
		return ""
	}
	return fmt.Sprintf(" (it says: %.200s)", last)
}

var errNoCommand = errors.New("judge.command is missing: name the command that judges")

// Check tells whether there is a command.
func (c Command) Check() error {
	if strings.TrimSpace(c.Line) == "" {
		return errNoCommand
	}
	return nil
}
