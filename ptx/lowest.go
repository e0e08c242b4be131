package ptx

// LowestVersion is the lowest PTX ISA version that has all that the module uses.
func (m *Module) LowestVersion() Version { return m.Version }
