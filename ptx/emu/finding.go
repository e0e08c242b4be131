package emu

import (
	"fmt"
	"slices"
	"strings"
)

// A Finding is a defect of a kernel that the sanitiser saw.
type Finding struct {
	Kind    string // stable name, as "race" or "out-of-bounds"
	Message string // in words, one line
	Kernel  string
	Launch  int64 // number of the launch on the device, from 1
	Line    int   // of PTX text, 0 if the module is not from text
	GoLine  string
	Instr   string // the instruction
	Block   [3]uint32
	Thread  [3]uint32
	Lanes   uint32 // lanes of the warp that did the same
	Address uint64 // 0 where none is concerned
	Space   string
	Size    int    // bytes of the access
	Memory  string // the allocation or variable
	Count   int    // how often it was seen

	Other *Other // the other access of a race, or who is waited for
}

// Other is the second party of a finding.
type Other struct {
	What   string // "write", "read", "asynchronous copy"
	Line   int
	GoLine string
	Instr  string
	Block  [3]uint32
	Thread [3]uint32
}

// String is the finding in a line or two, as the command prints it.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", f.Kind, f.Message)
	fmt.Fprintf(&b, "\n    kernel %s", f.Kernel)
	if f.Line > 0 {
		fmt.Fprintf(&b, " line %d", f.Line)
	}
	if f.GoLine != "" {
		fmt.Fprintf(&b, " (%s)", f.GoLine)
	}
	if f.Instr != "" {
		fmt.Fprintf(&b, ": %s", f.Instr)
	}
	fmt.Fprintf(&b, "\n    block (%d,%d,%d) thread (%d,%d,%d)", f.Block[0], f.Block[1], f.Block[2], f.Thread[0], f.Thread[1], f.Thread[2])
	if f.Size > 0 {
		fmt.Fprintf(&b, ", %d bytes at %s 0x%x", f.Size, f.Space, f.Address)
	}
	if f.Memory != "" {
		fmt.Fprintf(&b, " in %s", f.Memory)
	}
	if o := f.Other; o != nil {
		fmt.Fprintf(&b, "\n    %s by block (%d,%d,%d) thread (%d,%d,%d)", o.What, o.Block[0], o.Block[1], o.Block[2], o.Thread[0], o.Thread[1], o.Thread[2])
		if o.Line > 0 {
			fmt.Fprintf(&b, " line %d", o.Line)
		}
		if o.GoLine != "" {
			fmt.Fprintf(&b, " (%s)", o.GoLine)
		}
		if o.Instr != "" {
			fmt.Fprintf(&b, ": %s", o.Instr)
		}
	}
	if f.Count > 1 {
		fmt.Fprintf(&b, "\n    seen %d times", f.Count)
	}
	return b.String()
}

// findingList keeps different findings once: same kind, same instruction, same
// other instruction.
type findingList struct {
	max   int
	list  []*Finding
	index map[findingKey]*Finding
}

type findingKey struct {
	kind, instr, goLine, memory string
	line, otherLine             int
	otherInstr, otherGoLine     string
}

func (l *findingList) add(f *Finding) {
	k := findingKey{kind: f.Kind, instr: f.Instr, goLine: f.GoLine, memory: f.Memory, line: f.Line}
	if f.Other != nil {
		k.otherLine, k.otherInstr, k.otherGoLine = f.Other.Line, f.Other.Instr, f.Other.GoLine
	}
	if l.index == nil {
		l.index = map[findingKey]*Finding{}
	}
	n := max(f.Count, 1)
	if old := l.index[k]; old != nil {
		old.Count += n
		return
	}
	if len(l.list) >= l.max {
		return
	}
	f.Count = n
	l.index[k] = f
	l.list = append(l.list, f)
}

func (l *findingList) sorted() []Finding {
	out := make([]Finding, len(l.list))
	for i, f := range l.list {
		out[i] = *f
	}
	return slices.Clip(out)
}
