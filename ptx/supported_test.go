package ptx_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// TestEmulated counts which rows of the instruction table, and which instructions sampled from them,
// the emulator executes and which it refuses, for targets up to sm_90a.
func TestEmulated(t *testing.T) {
	dev := emu.New(emu.Config{GPU: emu.H100})
	type row struct{ taken, refused int }
	rows := map[*ptx.Form]*row{}
	var refused []string
	n := 0
	for _, p := range ptx.Probes() {
		if p.Target.SM > 90 {
			continue
		}
		m, err := ptx.Parse("probe", p.Module)
		if err != nil {
			t.Fatal(err)
		}
		if rows[p.Form] == nil {
			rows[p.Form] = &row{}
		}
		n++
		if _, err := dev.Load(m); err != nil {
			rows[p.Form].refused++
			refused = append(refused, fmt.Sprintf("%-60s %s", p.Instr, strings.TrimPrefix(err.Error(), "probe:")))
			continue
		}
		rows[p.Form].taken++
	}
	whole, part, none := 0, 0, 0
	for _, r := range rows {
		switch {
		case r.refused == 0:
			whole++
		case r.taken > 0:
			part++
		default:
			none++
		}
	}
	t.Logf("%d instructions of %d rows: %d executed, %d refused; rows: %d executed, %d in part, %d refused", n, len(rows), n-len(refused), len(refused), whole, part, none)
	why := map[string]int{}
	for _, r := range refused {
		known := ""
		for _, k := range []string{
			"textures and surfaces are not emulated", "memory that several GPUs share", "sparse matrices are not supported",
			".im2col", "does not know .oob here",
		} {
			if strings.Contains(r, k) {
				known = k
			}
		}
		if known == "" {
			t.Errorf("refused: %s", r)
		}
		why[known]++
	}
	for _, k := range slices.Sorted(maps.Keys(why)) {
		t.Logf("%4d refused: %s", why[k], k)
	}
}
