package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const kernel = `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out, .param .u32 n)
{
	.reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .pred %p;
	.shared .u32 s[64];
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, s;
	mad.lo.u32 %r2, %r1, 4, %r2;
	st.shared.u32 [%r2], %r1;
	BARRIER
	xor.b32 %r3, %r1, 32;
	mov.u32 %r2, s;
	mad.lo.u32 %r2, %r3, 4, %r2;
	ld.shared.u32 %r3, [%r2];
	mul.wide.u32 %rd2, %r1, 4;
	add.u64 %rd1, %rd1, %rd2;
	st.global.u32 [%rd1], %r3;
	ret;
}
`

// writeCase makes a case whose kernel exchanges values between two warps.
func writeCase(t *testing.T, barrier string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "exchange")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	head := `{"out.init":{"dtype":"U32","shape":[64],"data_offsets":[0,256]},"expect":{"dtype":"U32","shape":[64],"data_offsets":[256,512]}}`
	data := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	data = append(data, head...)
	data = append(data, make([]byte, 256)...)
	for i := range uint32(64) {
		data = binary.LittleEndian.AppendUint32(data, i^32)
	}
	for name, b := range map[string][]byte{
		"kernel.ptx": []byte(strings.ReplaceAll(kernel, "BARRIER", barrier)),
		"case.json": []byte(`{"name":"exchange","target":"sm_80","entry":"k","grid":[1,1,1],"block":[64,1,1],"cluster":null,"dynamic_smem":0,
			"params":[{"kind":"buffer","tensor":"out.init"},{"kind":"scalar","type":"u32","value":64}],
			"outputs":[{"param":0,"expect":"expect","atol":0,"rtol":0,"exact":true}],"globals":[]}`),
		"data.safetensors": data,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func ptxemu(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = run(args, &o, &e)
	return code, o.String(), e.String()
}

func TestRun(t *testing.T) {
	good, bad := writeCase(t, "bar.sync 0;"), writeCase(t, "")
	code, out, errOut := ptxemu("run", good)
	if code != 0 || strings.Count(out, ": ok") != 5 {
		t.Fatalf("code %d\n%s%s", code, out, errOut)
	}
	code, out, _ = ptxemu("run", "--colour", "always", bad)
	if code != exitFindings || !strings.Contains(out, "race") || !strings.Contains(out, "ld.shared.u32 %r3") || !strings.Contains(out, "\x1b[1;31m") {
		t.Fatalf("a missing barrier: code %d\n%s", code, out)
	}
	code, out, _ = ptxemu("run", "--json", bad, good)
	var reports []report
	if err := json.Unmarshal([]byte(out), &reports); err != nil {
		t.Fatal(err)
	}
	if code != exitFindings || len(reports) != 2 || len(reports[0].Runs[0].Findings) == 0 || len(reports[1].Runs[0].Findings) != 0 || reports[0].Runs[0].Findings[0].Line == 0 {
		t.Fatalf("code %d, %+v", code, reports)
	}
	// Without checks the schedule alone shows the defect, in the outputs.
	code, out, _ = ptxemu("run", "--without", "all", "--schedule", "adversarial", "--seeds", "4", bad)
	if code != exitFindings || !strings.Contains(out, "wrong") {
		t.Fatalf("code %d\n%s", code, out)
	}
	for _, args := range [][]string{{"run"}, {"run", "none"}, {"run", "--schedule", "x", good}, {"run", "--without", "x", good}, {"run", "--gpu", "none", good}} {
		if code, _, errOut := ptxemu(args...); code != exitError || errOut == "" {
			t.Errorf("%v: code %d, %q", args, code, errOut)
		}
	}
}

func TestCheckPrintProfile(t *testing.T) {
	dir := writeCase(t, "bar.sync 0;")
	file := filepath.Join(dir, "kernel.ptx")
	if code, out, errOut := ptxemu("check", file); code != 0 {
		t.Errorf("check: code %d\n%s%s", code, out, errOut)
	}
	wrong := filepath.Join(dir, "wrong.ptx")
	text := strings.ReplaceAll(kernel, "BARRIER", "elect.sync %r3|%p, -1;\n\tfoo.u32 %r1, %r2;")
	if err := os.WriteFile(wrong, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	code, out, _ := ptxemu("check", "--json", wrong)
	var list []complaint
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if code != exitFindings || len(list) == 0 || list[0].Line == 0 {
		t.Errorf("check: code %d, %+v", code, list)
	}
	code, out, _ = ptxemu("print", file)
	if code != 0 || !strings.Contains(out, "bar.sync") {
		t.Errorf("print: code %d\n%s", code, out)
	}
	code, out, errOut := ptxemu("profile", dir)
	if code != 0 || !strings.Contains(out, "warp-instructions") || !strings.Contains(out, "H100") {
		t.Errorf("profile: code %d\n%s%s", code, out, errOut)
	}
	if code, out, _ = ptxemu("profile", "--json", dir); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("profile --json: code %d\n%s", code, out)
	}
}
