package ptx

// A Probe is one instruction of the table in a module of its own, with the least target that
// takes it.
type Probe struct {
	Instr, Module string
	Form          *Form
	Target        Target
}

// Probes samples the table: every value of every modifier, all combinations with SELKIE_HEAVY.
func Probes() (list []Probe) {
	for _, p := range probes() {
		if p.target.SM == 0 {
			continue
		}
		v := probeVersion(p.text)
		if v.Less(p.version) {
			v = p.version
		}
		list = append(list, Probe{p.text, probeModule(v, p.target, []string{p.text}), p.form, p.target})
	}
	return list
}
