package ptx

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// An Error is one complaint about a module, at a line of PTX text, of Go, or both.
type Error struct {
	File string // of the PTX text, may be empty
	Pos  Pos
	Msg  string

	Warning bool // legal PTX that is mostly a mistake
}

// Error gives "file:line:col: message", with the line of Go that emitted the
// instruction where there is one.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Pos.Line > 0 {
		file := e.File
		if file == "" {
			file = "ptx"
		}
		fmt.Fprintf(&b, "%s:%d:%d: ", file, e.Pos.Line, e.Pos.Col)
		if g := e.Pos.GoLine(); g != "" {
			fmt.Fprintf(&b, "(%s) ", g)
		}
	} else if g := e.Pos.GoLine(); g != "" {
		fmt.Fprintf(&b, "%s: ", g)
	} else if e.File != "" {
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	b.WriteString(e.Msg)
	return b.String()
}

// ErrorList is every complaint that was found, in the order of the text.
type ErrorList []*Error

// maxErrors bounds what one call of Parse or Check reports.
const maxErrors = 20

func (l ErrorList) Error() string {
	var b strings.Builder
	for i, e := range l {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap lets errors.As find an *Error.
func (l ErrorList) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

// Fatal is the list without warnings, nil if nothing else is in it.
func (l ErrorList) Fatal() error {
	var out ErrorList
	for _, e := range l {
		if !e.Warning {
			out = append(out, e)
		}
	}
	return out.err()
}

// err is nil for an empty list: a typed nil in an error is not nil.
func (l ErrorList) err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// GoLine is "file.go:12" of the Go call that emitted the statement, empty if it
// came from text.
func (p Pos) GoLine() string {
	if p.PC == 0 {
		return ""
	}
	// PC is a return address, as runtime.Callers gives it.
	f, _ := runtime.CallersFrames([]uintptr{p.PC}).Next()
	if f.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
}

func (p Pos) String() string {
	switch g := p.GoLine(); {
	case p.Line == 0:
		return g
	case g == "":
		return fmt.Sprintf("line %d", p.Line)
	default:
		return fmt.Sprintf("line %d (%s)", p.Line, g)
	}
}
