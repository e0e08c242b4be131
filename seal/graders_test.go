package seal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/settings"
)

// fakeJudge is an OpenAI-compatible endpoint that answers by the chat's length,
// with a fault before every other answer.
type fakeJudge struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	answered map[string]int
	faults   []string
	down     bool
}

const judgeKey = "sk-of-the-test"

func newFakeJudge(t *testing.T, faults ...string) *fakeJudge {
	j := &fakeJudge{answered: map[string]int{}, faults: faults}
	j.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer "+judgeKey {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		j.mu.Lock()
		n, fault := j.requests, ""
		j.requests++
		if len(j.faults) > 0 && n%2 == 0 {
			fault = j.faults[n/2%len(j.faults)]
		}
		if j.down {
			fault = "500"
		}
		j.mu.Unlock()
		reply := "no"
		switch {
		case strings.Contains(string(body), "diversity"):
			reply = fmt.Sprintf(`{"length": %d, "diversity": 2, "quality": 3, "correctness": 4}`, 1+len(body)%5)
		case len(body)%3 == 0:
			reply = "Yes"
		}
		switch fault {
		case "slow":
			time.Sleep(150 * time.Millisecond)
		case "429":
			w.Header().Set("Retry-After", "0.001")
			w.WriteHeader(429)
			return
		case "500":
			w.WriteHeader(500)
			return
		case "nonsense":
			reply = "I wonder."
		case "schema":
			fmt.Fprint(w, `{"choices": []}`)
			return
		case "drop":
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
			return
		}
		if fault == "" {
			j.mu.Lock()
			j.answered[string(body)]++
			j.mu.Unlock()
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"choices": []any{map[string]any{"message": map[string]string{"content": reply}}},
			"usage":   map[string]int{"prompt_tokens": 100, "completion_tokens": 2},
		})
	}))
	t.Cleanup(j.Close)
	return j
}

func endpointSettings(url string) settings.Settings {
	s := tinySettings()
	s.Outer.Rounds, s.Eval.Controls = 1, nil
	s.Eval.Grader, s.Outer.Compare = "endpoint", []string{RewardRubric}
	s.Judge.URL, s.Judge.Model, s.Judge.KeyEnv = url, "m", "SELKIE_TEST_KEY"
	s.Judge.Timeout, s.Judge.Retries, s.Judge.PriceIn = 0.1, 50, 2
	return s
}

// A whole run is graded by an endpoint that fails in every way, goes down, and is
// stopped and begun again: nothing is lost, nothing that was answered is asked
// again, and the files are those of an undisturbed run.
func TestRunWithAFaultyEndpoint(t *testing.T) {
	t.Setenv("SELKIE_TEST_KEY", judgeKey)
	defer func(d time.Duration) { firstPause = d }(firstPause)
	firstPause = time.Millisecond
	calm := newFakeJudge(t)
	whole := t.TempDir()
	s := endpointSettings(calm.URL)
	e, err := Execute(t.Context(), whole, s, tinyInputs(t, 2), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := canonical(t, whole)
	if len(e.Rounds[0].Others[RewardRubric]) != 3 || e.Rounds[0].Others[RewardRubric][0][0].Asked != 20 {
		t.Errorf("rubric %v", e.Rounds[0].Others)
	}

	wild := newFakeJudge(t, "slow", "429", "500", "nonsense", "schema", "drop")
	wild.down = true
	dir := t.TempDir()
	s = endpointSettings(wild.URL)
	s.Judge.Retries = 1
	if _, err := Execute(t.Context(), dir, s, tinyInputs(t, 1), Options{}); err == nil || !strings.Contains(err.Error(), "status 500") || !strings.Contains(err.Error(), wild.URL) {
		t.Fatalf("an endpoint that is down gave %v", err)
	}
	wild.down = false
	s.Judge.Retries = 50
	stops := interruptions(t, 1, 4, func(ctx context.Context, limit int, progress func(string, int, int)) error {
		_, err := Execute(ctx, dir, s, tinyInputs(t, 1), Options{Progress: progress})
		return err
	})
	for chat, n := range wild.answered {
		if n > 1 {
			t.Errorf("answered %d times: %s", n, chat)
		}
	}
	if stops < 2 || len(wild.answered) < 10 {
		t.Errorf("%d stops, %d chats", stops, len(wild.answered))
	}
	got := canonical(t, dir)
	for name, data := range want {
		if name != "config.yaml" && got[name] != data {
			t.Errorf("%s differs", name)
		}
	}
	run, err := journal.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	cost, err := ReadJudgeCost(run, s.Judge)
	if err != nil || cost.Replies < len(wild.answered) || cost.PromptTokens != 100*cost.Replies || cost.Price <= 0 {
		t.Errorf("cost %+v, %v; %d chats", cost, err, len(wild.answered))
	}
	// The key is written nowhere.
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), judgeKey) {
			t.Errorf("%s holds the key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGraderSettings(t *testing.T) {
	prompts := DefaultPrompts()
	for _, name := range []string{"match", "learned", "exact", "command", "endpoint"} {
		s := settings.Default()
		s.Eval.Grader, s.Judge.Command, s.Judge.URL, s.Judge.Model = name, "cat", "http://localhost", "m"
		if g, err := NewGrader(s, &prompts, nil); err != nil || g == nil {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
	for want, change := range map[string]func(*settings.Settings){
		"judge.url":     func(s *settings.Settings) { s.Eval.Grader, s.Judge.Model = "endpoint", "m" },
		"judge.command": func(s *settings.Settings) { s.Eval.Grader = "command" },
		"judge.model":   func(s *settings.Settings) { s.Outer.Reward, s.Judge.URL = "rubric", "http://h" },
		"outer.compare": func(s *settings.Settings) { s.Outer.Compare = []string{"accuracy"} },
	} {
		s := settings.Default()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
