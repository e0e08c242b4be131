package emu

import "github.com/selkie-ml/selkie/ptx"

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
	flow := ptx.Flow{Blocks: make([]ptx.BasicBlock, nb)}
	edge := func(a int, b int32) {
		flow.Blocks[a].Succ = append(flow.Blocks[a].Succ, int(b))
		flow.Blocks[b].Pred = append(flow.Blocks[b].Pred, a)
	}
	for b := range nb {
		last := n - 1
		if b+1 < nb {
			last = int(starts[b+1]) - 1
		}
		in := &code[last]
		br, isBranch := in.aux.(*branch)
		falls := true // into the next block
		switch {
		case isBranch:
			if br.table == nil {
				edge(b, blockOf[br.target])
			}
			for _, t := range br.table {
				edge(b, blockOf[t])
			}
			falls = in.guard >= 0
		case isEnd(in):
			flow.Blocks[b].Exits = true
			falls = in.guard >= 0
		}
		switch {
		case falls && b+1 < nb:
			edge(b, int32(b+1))
		case !isBranch:
			flow.Blocks[b].Exits = true
		}
	}
	joins := flow.PostDominators()
	for i := range code {
		if _, ok := code[i].aux.(*callSite); ok {
			code[i+1].flags |= flagJoin
		}
		br, ok := code[i].aux.(*branch)
		if !ok {
			continue
		}
		if d := joins[blockOf[i]]; d >= 0 {
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
