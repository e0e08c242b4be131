package judge

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCommand(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh to run commands with")
	}
	answers := []Answer{{"q \"1\"", "a", "a"}, {"q2", "b\n", "<x>"}}
	for line, want := range map[string]string{
		`sed 's/.*"id":\([0-9]*\).*"answer":"a".*/{"id": \1, "correct": true}/; s/.*"id":\([0-9]*\).*"answer".*/{"id": \1, "correct": false}/'`: "",
		`cat > /dev/null; echo '{"id": 1, "correct": false}'; echo; echo '{"id":0,"correct":true}'`:                                             "",
		`cat > /dev/null; echo broken >&2; exit 3`:                    "exit status 3 (it says: broken)",
		`cat > /dev/null; echo '{"id": 0, "correct": true}'`:          "it gave 1 verdicts on 2 answers",
		`cat > /dev/null; echo '{"id": 0}'`:                           "line 1 of its output: expected",
		`cat > /dev/null; echo '{"id": 0, "correct": "yes"}'`:         "line 1 of its output: expected",
		`cat > /dev/null; echo '{"id": 2, "correct": true}'`:          "id 2: expected 0 to 1",
		`cat > /dev/null; yes '{"id": 0, "correct": true}' | head -2`: "a second verdict on id 0",
		`cat`:             "line 1 of its output: expected",
		`no-such-program`: "exit status 127",
	} {
		got, err := Command{line}.Grade(t.Context(), answers)
		if want == "" {
			if err != nil || !slices.Equal(got, []bool{true, false}) {
				t.Errorf("%s: %v, %v", line, got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", line, err, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Command{"exec sleep 100"}).Grade(ctx, answers); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that hangs gave %v", err)
	}
	if err := (Command{" "}).Check(); err == nil {
		t.Error("no command is no error")
	}
}
