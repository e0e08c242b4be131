package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// On an emulated GPU tune ranks variants by estimates, says so, and keeps all of them.
func TestTune(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tune.json")
	tune := []string{"tune", "--device", "emulated:h100:profile", "--op", "linear", "--in", "64", "--out", "48"}
	out, said := must(t, append(tune, "--rows", "1,16", "--json", file)...)
	for _, want := range []string{"linear bf16 1×64→48", "linear bf16 16×64→48", "  * ", "split: "} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	if !strings.Contains(said, "H100") || !strings.Contains(said, "not measurements") {
		t.Errorf("it says %q", said)
	}
	var kept struct {
		GPU     string       `json:"gpu"`
		Timings []tuneRecord `json:"timings"`
	}
	if err := json.Unmarshal([]byte(read(t, file)), &kept); err != nil {
		t.Fatal(err)
	}
	chosen := 0
	for _, r := range kept.Timings {
		if r.Refused == "" && (r.Seconds <= 0 || !r.Estimated) {
			t.Errorf("%+v", r)
		}
		if r.Chosen {
			chosen++
		}
	}
	if chosen != 2 || len(kept.Timings) < 10 {
		t.Errorf("%d timings, %d of what the table chooses", len(kept.Timings), chosen)
	}
	for _, op := range []string{"attention", "lora_up", "loss_input"} { // on a case of their own, at least one variant is ranked
		out, _ := must(t, "tune", "--device", "emulated:a100:profile", "--op", op, "--rows", "20", "--parts", "2", "--in", "64", "--out", "48", "--rank", "8", "--heads", "2,1,32")
		if !strings.Contains(out, op+" bf16 20") || !strings.Contains(out, "  * ") {
			t.Errorf("tune --op %s says\n%s", op, out)
		}
	}
	for _, c := range [][2]string{
		{"--device cpu", "--device cpu is no GPU"}, {"--op softmax", "--op softmax"}, {"--rows 0", "--rows 0"}, {"--out 0", "expected both"},
		{"--dtype f8", "--dtype f8"}, {"--heads 3,2,8", "--heads [3 2 8]"}, {"--parts 0", "--parts 0"}, {"--samples 0", "--samples 0"}, {"--device emulated:h100", "keeps no profile"},
	} {
		if code, _, said := try("", append(tune, strings.Fields(c[0])...)...); code != exitError || !strings.Contains(said, c[1]) {
			t.Errorf("tune %s: exit code %d, %q, want a message with %q", c[0], code, said, c[1])
		}
	}
}
