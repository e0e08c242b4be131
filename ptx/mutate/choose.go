package mutate

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
)

// A Choice is a mutant that is tried for others like it.
type Choice struct {
	*Mutant
	Copy int // from 1, among the module's mutants of the same ID
	For  int // how many it stands for, itself included
}

// Choose takes representatives of the mutants of modules that one piece of Go emits, as
// unrolled loops repeat the same instruction for other registers, and other sizes and
// storages repeat all of it. Those are alike that plant the same defect at the same line of
// Go, in the same quarter of a kernel, in instructions that differ only in registers, labels
// and numbers. One of up to fifteen that are alike is taken, two of more: of those that
// are reached, if any are, those of the module with the most weight, and of these always the
// same ones, which have nothing to do with their order.
func Choose(modules [][]*Mutant, weights []int, reached func(module int, m *Mutant) bool) [][]Choice {
	type member struct {
		Choice
		module, unreached int
	}
	groups := map[string][]member{}
	var keys []string
	for i, all := range modules {
		copies := map[string]int{}
		for _, m := range all {
			id, key := m.ID(), m.Like()
			copies[id]++
			if groups[key] == nil {
				keys = append(keys, key)
			}
			unreached := 1
			if reached(i, m) {
				unreached = 0
			}
			groups[key] = append(groups[key], member{Choice{Mutant: m, Copy: copies[id]}, i, unreached})
		}
	}
	chosen := make([][]Choice, len(modules))
	for _, key := range keys {
		g := groups[key]
		slices.SortStableFunc(g, func(a, b member) int {
			return cmp.Or(a.unreached-b.unreached, weights[b.module]-weights[a.module], cmp.Compare(Hash(fmt.Sprint(a.ID(), a.Copy)), Hash(fmt.Sprint(b.ID(), b.Copy))))
		})
		n := 1
		if len(g) > 15 {
			n = 2
		}
		for i, c := range g[:n] {
			c.For = (len(g) + i) / n
			chosen[c.module] = append(chosen[c.module], c.Choice)
		}
	}
	return chosen
}

// Hash gives names an order that says nothing.
func Hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	v := h.Sum64()
	v = (v ^ v>>33) * 0xff51afd7ed558ccd // FNV's last letters reach the low bits only
	return v ^ v>>33
}

// Like is the same for mutants that are alike, see Choose.
func (m *Mutant) Like() string {
	at := m.at
	if len(m.block) > 0 {
		at = m.block[0]
	}
	return fmt.Sprintf("%s: %s: %s => %s: quarter %d", m.Line, m.Kind, Abstract(m.Before), Abstract(m.After), 4*at/len(m.fn.Body.Stmts))
}

var (
	numbered = regexp.MustCompile(`([%$][A-Za-z_]+)[0-9]+`)
	number   = regexp.MustCompile(`([ ,+{(-])(0[xXfFdD])?[0-9][0-9A-Fa-f]*\b`)
)

// Abstract is the text of an instruction without the numbers of registers and labels, and
// without other numbers.
func Abstract(text string) string {
	return number.ReplaceAllString(numbered.ReplaceAllString(text, "$1"), "$1#")
}
