package emu

import (
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/ptx"
)

// mods are the modifiers of an instruction; what a lowering function does not take is
// refused, so that nothing unknown is passed over.
type mods struct {
	list  []string
	taken []bool
}

func parseMods(list []string) mods { return mods{list, make([]bool, len(list))} }

// has takes a modifier, saying whether it is there.
func (m *mods) has(name string) bool {
	for i, s := range m.list {
		if s == name && !m.taken[i] {
			m.taken[i] = true
			return true
		}
	}
	return false
}

// peek says whether a modifier is there.
func (m *mods) peek(name string) bool { return slices.Contains(m.list, name) }

// one takes the first of the names that is there; "" if none is.
func (m *mods) one(names ...string) string {
	for i, s := range m.list {
		if !m.taken[i] && slices.Contains(names, s) {
			m.taken[i] = true
			return s
		}
	}
	return ""
}

// prefix takes the first modifier that begins with p, and gives it whole.
func (m *mods) prefix(p string) string {
	for i, s := range m.list {
		if !m.taken[i] && strings.HasPrefix(s, p) {
			m.taken[i] = true
			return s
		}
	}
	return ""
}

// typ takes the next modifier that is a type.
func (m *mods) typ() ptx.Type {
	for i, s := range m.list {
		if m.taken[i] {
			continue
		}
		if t, ok := ptx.TypeByName(s); ok {
			m.taken[i] = true
			return t
		}
	}
	return ptx.NoType
}

// lastType takes the last modifier that is a type.
func (m *mods) lastType() ptx.Type {
	for i := len(m.list) - 1; i >= 0; i-- {
		if m.taken[i] {
			continue
		}
		if t, ok := ptx.TypeByName(m.list[i]); ok {
			m.taken[i] = true
			return t
		}
	}
	return ptx.NoType
}

// space takes the next modifier that is a state space.
func (m *mods) space() ptx.Space {
	for i, s := range m.list {
		if m.taken[i] {
			continue
		}
		if t, ok := ptx.SpaceByName(s); ok {
			m.taken[i] = true
			return t
		}
	}
	return ptx.NoSpace
}

// left is the first modifier that nobody took.
func (m *mods) left() string {
	for i, s := range m.list {
		if !m.taken[i] {
			return s
		}
	}
	return ""
}
