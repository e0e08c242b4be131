package emu

// reconverge finds, for every branch that can diverge, the instruction at which its lanes
// meet again: the first of the immediate post-dominator of its basic block (as
// compilers for GPUs place it). Branches whose paths meet nowhere in the function
// have none.
func reconverge(f *fn) {
	code := f.code
	n := len(code)
	leader := make([]bool, n+1)
	leader[0] = true
	for i := range code {
		switch b := code[i].aux.(type) {
		case *branch:
			if b.table == nil {
				leader[b.target] = true
			}
			for _, t := range b.table {
				leader[t] = true
			}
			leader[i+1] = true
		}
		if isEnd(&code[i]) {
			leader[i+1] = true
		}
	}
	var starts []int32
	blockOf := make([]int32, n)
	for i := range n {
		if leader[i] {
			starts = append(starts, int32(i))
		}
		blockOf[i] = int32(len(starts) - 1)
	}
	nb := len(starts)
	exit := int32(nb)
	preds := make([][]int32, nb+1) // in the reversed graph: successors
	succs := make([][]int32, nb+1)
	edge := func(a, b int32) {
		succs[a] = append(succs[a], b)
		preds[b] = append(preds[b], a)
	}
	for b := range nb {
		last := n - 1
		if b+1 < nb {
			last = int(starts[b+1]) - 1
		}
		in := &code[last]
		next := int32(b + 1)
		br, isBranch := in.aux.(*branch)
		switch {
		case isBranch:
			if br.table == nil {
				edge(int32(b), blockOf[br.target])
			}
			for _, t := range br.table {
				edge(int32(b), blockOf[t])
			}
			if in.guard >= 0 && b+1 < nb {
				edge(int32(b), next)
			}
		case isEnd(in):
			edge(int32(b), exit)
			if in.guard >= 0 && b+1 < nb {
				edge(int32(b), next)
			}
		default:
			if b+1 < nb {
				edge(int32(b), next)
			} else {
				edge(int32(b), exit)
			}
		}
	}
	// Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, on the reversed graph.
	order := make([]int32, 0, nb+1) // postorder of the reversed graph
	num := make([]int32, nb+1)
	for i := range num {
		num[i] = -1
	}
	type frame struct{ b, k int32 }
	seen := make([]bool, nb+1)
	stack := []frame{{exit, 0}}
	seen[exit] = true
	for len(stack) > 0 {
		t := &stack[len(stack)-1]
		if int(t.k) < len(preds[t.b]) {
			p := preds[t.b][t.k]
			t.k++
			if !seen[p] {
				seen[p] = true
				stack = append(stack, frame{p, 0})
			}
			continue
		}
		num[t.b] = int32(len(order))
		order = append(order, t.b)
		stack = stack[:len(stack)-1]
	}
	idom := make([]int32, nb+1)
	for i := range idom {
		idom[i] = -1
	}
	idom[exit] = exit
	for changed := true; changed; {
		changed = false
		for i := len(order) - 2; i >= 0; i-- {
			b := order[i]
			d := int32(-1)
			for _, s := range succs[b] {
				if idom[s] < 0 {
					continue
				}
				if d < 0 {
					d = s
					continue
				}
				a, c := d, s
				for a != c {
					for num[a] < num[c] {
						a = idom[a]
					}
					for num[c] < num[a] {
						c = idom[c]
					}
				}
				d = a
			}
			if idom[b] != d {
				idom[b] = d
				changed = true
			}
		}
	}
	for i := range code {
		if _, ok := code[i].aux.(*callSite); ok {
			code[i+1].flags |= flagJoin
		}
		br, ok := code[i].aux.(*branch)
		if !ok {
			continue
		}
		if d := idom[blockOf[i]]; d >= 0 && d != exit {
			br.join = starts[d]
			code[br.join].flags |= flagJoin
		}
	}
}

// isEnd says whether an instruction leaves the function for the lanes that execute it.
func isEnd(in *inst) bool {
	if in.src == nil || in.flags&flagHelper != 0 {
		return false
	}
	switch in.src.Op {
	case "ret", "exit", "trap":
		return true
	}
	return false
}
