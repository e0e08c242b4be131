package ptx

// Form is a row of the instruction table. (Placeholder, replaced with the table.)
type Form struct{}

func (p *parser) resolve(in *Instr, o *opcode) {}

// LowestVersion is the lowest PTX ISA version that has all that the module uses.
func (m *Module) LowestVersion() Version { return m.Version }
