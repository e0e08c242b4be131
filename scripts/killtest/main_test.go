package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary is also the command that is killed: a run of 20 steps, each a
// file, in a folder. Which of its faults it has, an environment variable says.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "work" {
		if err := work(os.Args[2], os.Getenv("KILLTEST_FAULT")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func work(dir, fault string) error {
	if fault == "fails" {
		return fmt.Errorf("out of luck")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	_, err := os.Stat(filepath.Join(dir, "journal.jsonl"))
	resumed := err == nil
	if err := os.WriteFile(filepath.Join(dir, "journal.jsonl"), []byte(time.Now().String()), 0o666); err != nil {
		return err
	}
	for step := range 20 {
		name := filepath.Join(dir, fmt.Sprintf("step-%d", step))
		if _, err := os.Stat(name); err == nil {
			continue
		}
		time.Sleep(10 * time.Millisecond)
		text := fmt.Sprintf("result of step %d\n", step)
		if resumed && fault == "differs" {
			text = strings.ToUpper(text)
		}
		if err := os.WriteFile(name+".new", []byte(text), 0o666); err != nil {
			return err
		}
		if err := os.Rename(name+".new", name); err != nil {
			return err
		}
	}
	if resumed && fault == "leaves" {
		return os.WriteFile(filepath.Join(dir, "left"), nil, 0o666)
	}
	if resumed && fault == "loses" {
		return os.Remove(filepath.Join(dir, "step-3"))
	}
	return nil
}

func try(t *testing.T, fault string) (*trial, error) {
	t.Helper()
	t.Setenv("KILLTEST_FAULT", fault)
	tr := &trial{command: []string{os.Args[0], "work", "{DIR}"}, kills: 4, seed: 1, work: t.TempDir(), log: func(s string) { t.Log(s) }}
	return tr, tr.run()
}

func TestKills(t *testing.T) {
	tr, err := try(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.hits) != 4 || tr.files != 20 {
		t.Errorf("%d kills, %d files", len(tr.hits), tr.files)
	}
	for _, want := range []string{"4 kills (SIGKILL)", "All 20 files", "| 4 | "} {
		if text := tr.markdown(); !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestFindsFaults(t *testing.T) {
	for fault, want := range map[string]string{
		"differs": "differs from byte 0 on",
		"leaves":  "left should not be there",
		"loses":   "step-3 is missing",
		"fails":   "out of luck",
	} {
		if _, err := try(t, fault); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", fault, err, want)
		}
	}
}
