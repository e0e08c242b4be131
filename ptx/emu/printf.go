package emu

// cString reads a zero-terminated string at a generic address.
func (x *exec) cString(a uint64) string {
	s := x.l.table.find(a)
	if s == nil {
		return ""
	}
	b := s.data[a-s.base:]
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func runPrintf(x *exec, in *inst, c *callSite) {}
