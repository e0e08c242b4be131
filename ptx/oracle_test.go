package ptx

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
)

// isaVersions are those that ptxas is asked about.
var isaVersions = []Version{
	{6, 3}, {6, 4}, {6, 5}, {7, 0}, {7, 1}, {7, 2}, {7, 3}, {7, 4}, {7, 5}, {7, 6}, {7, 7}, {7, 8},
	{8, 0}, {8, 1}, {8, 2}, {8, 3}, {8, 4}, {8, 5}, {8, 6}, {8, 7}, {8, 8}, {9, 0}, {9, 1},
}

// group is the version and target that instructions are assembled for at once.
type group struct {
	v Version
	t Target
}

func inOrder(groups map[group][]probe) (keys []group) {
	for g := range groups {
		keys = append(keys, g)
	}
	slices.SortFunc(keys, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.t.SM, b.t.SM), cmp.Compare(a.t.Class, b.t.Class), cmp.Compare(a.v.Major, b.v.Major), cmp.Compare(a.v.Minor, b.v.Minor))
	})
	return keys
}

func (g group) complaints(t *testing.T, tool string, ps []probe) map[int]string {
	bad := map[int]string{}
	// ptxas gives up after a number of errors.
	for i := 0; i < len(ps); i += 50 {
		var texts []string
		for _, p := range ps[i:min(i+50, len(ps))] {
			texts = append(texts, p.text)
		}
		for j, msg := range complaints(t, tool, g.v, g.t, texts) {
			bad[i+j] = msg
		}
	}
	return bad
}

// newAssembler is a ptxas that knows the PTX ISA of the table: older ones take some
// forms with other versions than the ISA states.
func newAssembler(t *testing.T) string {
	newest := isaVersions[len(isaVersions)-1]
	for _, tool := range ptxas.Find(t) {
		if _, _, ok := assemble(t, tool, probeModule(newest, Target{90, 0}, nil), Target{90, 0}); ok {
			return tool
		}
	}
	t.Skipf("no ptxas found knows PTX ISA %s", newest)
	return ""
}

// TestTableByPtxas holds the instruction table against ptxas: each sampled instruction
// must assemble with the version and target that the table states. SELKIE_HEAVY=1 tries
// combinations of modifiers, too.
func TestTableByPtxas(t *testing.T) {
	tool := newAssembler(t)
	groups := map[group][]probe{}
	n, skipped := 0, 0
	for _, p := range probes() {
		switch {
		case p.version.Major < 0:
			t.Errorf("the table does not take its own form (%s): %s", p.form.Source, p.text)
		case p.target.SM == 0:
			skipped++ // for a later architecture
		default:
			g := group{p.version, p.target}
			groups[g] = append(groups[g], p)
			n++
		}
	}
	for _, g := range inOrder(groups) {
		bad := g.complaints(t, tool, groups[g])
		for i, p := range groups[g] {
			if msg, ok := bad[i]; ok {
				t.Errorf("%s .version %s: %s (%s): %s", g.t, g.v, p.text, p.form.Source, msg)
			}
		}
	}
	t.Logf("%d instructions of %d forms in %d groups; %d for later architectures", n, len(Forms()), len(groups), skipped)
}

// TestTableIsTight: one version or one target less, and ptxas refuses.
func TestTableIsTight(t *testing.T) {
	tool := newAssembler(t)
	groups := map[group][]probe{}
	n := 0
	for _, p := range probes() {
		if p.target.SM == 0 || p.version.Major < 0 {
			continue
		}
		least, _ := p.target.MinVersion()
		if strings.Contains(p.text, "%q") { // what declares .b128
			least = Version{8, 3}
		}
		if i := slices.Index(isaVersions, p.version); i > 0 && least.Less(p.version) {
			g := group{isaVersions[i-1], p.target}
			groups[g] = append(groups[g], p)
			n++
		}
		if i := slices.Index(oracleTargets, p.target); i > 0 {
			below := oracleTargets[i-1]
			v := p.version
			if low, _ := below.MinVersion(); v.Less(low) {
				v = low
			}
			if v.Less(Version{8, 3}) && strings.Contains(p.text, "%q") {
				v = Version{8, 3}
			}
			g := group{v, below}
			groups[g] = append(groups[g], p)
			n++
		}
	}
	for _, g := range inOrder(groups) {
		bad := g.complaints(t, tool, groups[g])
		for i, p := range groups[g] {
			if _, ok := bad[i]; !ok {
				t.Errorf("ptxas takes with %s .version %s what the table wants %s %s for: %s (%s)", g.t, g.v, p.target, p.version, p.text, p.form.Source)
			}
		}
	}
	t.Logf("%d instructions in %d groups", n, len(groups))
}
